import AloftModel
import Foundation
import Testing

@testable import NodeAgent

extension NICID {
  static func sample(_ number: Int) -> NICID { NICID(UUID.v7(milliseconds: 3, random: (3, UInt64(number)))) }
}

extension NetworkID {
  static func sample(_ number: Int) -> NetworkID {
    NetworkID(UUID.v7(milliseconds: 4, random: (4, 0xAABB_0000 + UInt64(number))))
  }
}

extension Assignment.NIC {
  static func sample(_ number: Int, network: Int = 1) -> Assignment.NIC {
    Assignment.NIC(
      id: .sample(number), network: .sample(network), mac: "02:00:00:00:00:0\(number)",
      addresses: ["10.0.0.\(10 + number)/24"])
  }
}

extension Assignment {
  /// A document with these NICs in one network.
  func with(_ nics: [NIC], mtu: Int = 1442) -> Assignment {
    var document = self
    document.nics = nics
    document.networks = [
      Network(id: .sample(1), name: "blue", mtu: mtu, dnsDomain: "blue.internal", metadataAddresses: ["10.0.0.2/24"])
    ]
    return document
  }
}

@Suite("Plan of NICs")
struct NetworkPlanTests {
  static let nic = Assignment.NIC.sample(1)
  static let other = Assignment.NIC.sample(2)
  static let missing = MissingPorts(nics: [nic.id], reason: "ovn-controller is not connected")

  func plugged(_ nics: Assignment.NIC...) -> [DomainNIC] { nics.map { DomainNIC(id: $0.id, mac: $0.mac.uppercased()) } }

  func plan(
    _ desired: Assignment, _ power: DomainPower, nics: [DomainNIC] = [], missing: MissingPorts? = nil,
    stop: StopProgress? = nil, devices: DeviceProgress = DeviceProgress(), now: Int = 1_000_000
  ) -> Plan {
    let domain = VMDomain(
      vm: .sample(1), tag: DomainTag(incarnation: 2, generation: 5, ranGeneration: 5, digest: "d"), power: power)
    return Plan.make(
      desired, ActualVM(domain: domain, files: PlanTests.whole, nics: nics, missingPorts: missing), digest: "d",
      stop: stop, devices: devices, now: now)
  }

  @Test("a guest with NICs is held at its start, and runs when its ports are installed")
  func held() {
    let document = Assignment.sample().with([Self.nic])
    #expect(plan(document, .off(.unknown)).steps == [.startHeld])
    #expect(plan(document, .panicked).steps == [.destroy, .startHeld])
    #expect(plan(.sample().with([]), .off(.unknown)).steps == [.start])
    let waiting = plan(document, .paused(.asked), nics: plugged(Self.nic), missing: Self.missing)
    #expect(waiting.steps.isEmpty && waiting.wakeAt == 1_001_000 && waiting.problem == nil)
    #expect(waiting.activity?.contains(Self.nic.id.description) == true)
    #expect(plan(document, .paused(.asked), nics: plugged(Self.nic)).steps == [.release])
    #expect(plan(document, .paused(.other), nics: plugged(Self.nic), missing: Self.missing).steps.isEmpty)
    #expect(plan(document, .paused(.ioError), nics: plugged(Self.nic)).steps == [.resume])
  }

  @Test("ports that stay away are a problem that says what is missing; the guest is held on")
  func patience() {
    let document = Assignment.sample().with([Self.nic])
    func problem(after milliseconds: Int) -> Observation.Problem? {
      let plan = plan(
        document, .paused(.asked), nics: plugged(Self.nic), missing: Self.missing,
        devices: DeviceProgress(heldSince: 1_000_000), now: 1_000_000 + milliseconds)
      #expect(plan.steps.isEmpty)
      return plan.problem
    }
    #expect(problem(after: 29_999) == nil)
    #expect(problem(after: 30_000)?.code == .networkNotReady)
    #expect(problem(after: 30_000)?.detail.contains("ovn-controller is not connected") == true)
  }

  @Test("a guest that never ran is not resumed to shut it down; one that was paused later is")
  func stopped() {
    let document = Assignment.sample(power: .stopped).with([Self.nic])
    #expect(plan(document, .paused(.asked), nics: plugged(Self.nic), missing: Self.missing).steps == [.destroy])
    #expect(
      plan(
        document, .paused(.asked), nics: plugged(Self.nic),
        stop: StopProgress(askedFirst: 1_000_000, askedLast: 1_000_000)
      ).steps.last == .resume)
  }

  @Test("NICs come and go while the guest runs; its definition does not matter for that")
  func hotplug() {
    #expect(plan(.sample().with([Self.nic]), .running, nics: plugged(Self.nic)) == Plan())
    #expect(
      plan(.sample().with([Self.nic, Self.other]), .running, nics: plugged(Self.nic)).steps == [.plug(Self.other)])
    #expect(plan(.sample().with([]), .running, nics: plugged(Self.nic)).steps == [.unplug(Self.nic.id)])
    #expect(plan(.sample(), .running, nics: plugged(Self.nic)) == Plan(), "a control plane without networks")
    // The newer document is noted first: a guest that keeps a device keeps nothing else back.
    let steps = plan(.sample(generation: 6).with([Self.other]), .running, nics: plugged(Self.nic)).steps
    #expect(steps.count == 3 && steps[1...] == [.unplug(Self.nic.id), .plug(Self.other)])
    var changed = Self.nic
    changed.mac = "02:00:00:00:00:99"
    #expect(plan(.sample().with([changed]), .running, nics: plugged(Self.nic)).steps == [.unplug(Self.nic.id)])
  }

  @Test("a guest that keeps a NIC is asked again, and somebody is told")
  func unwilling() {
    func asked(_ first: Int, _ last: Int) -> Plan {
      plan(
        .sample().with([]), .running, nics: plugged(Self.nic),
        devices: DeviceProgress(unplugs: [Self.nic.id: .init(askedFirst: first, askedLast: last)]))
    }
    #expect(asked(995_000, 995_000).steps.isEmpty)
    #expect(asked(995_000, 995_000).wakeAt == 1_005_000)
    #expect(asked(985_000, 990_000).steps == [.unplug(Self.nic.id)])
    #expect(asked(985_000, 990_000).problem == nil)
    #expect(asked(940_000, 995_000).problem?.code == .guestIgnored)
  }

  @Test("what was asked is forgotten with the device, and the time that a guest is held with its release")
  func progress() {
    var progress = DeviceProgress()
    let held = ActualVM(
      domain: VMDomain(vm: .sample(1), tag: DomainTag(incarnation: 1, generation: 1), power: .paused(.asked)),
      nics: plugged(Self.nic), missingPorts: Self.missing)
    progress.follow(held, 100)
    progress.noteUnplug(Self.nic.id, 150)
    progress.follow(held, 200)
    progress.noteUnplug(Self.nic.id, 250)
    #expect(
      progress
        == DeviceProgress(heldSince: 100, unplugs: [Self.nic.id: .init(askedFirst: 150, askedLast: 250)]))
    progress.follow(ActualVM(domain: held.domain), 300)
    #expect(progress == DeviceProgress())
  }
}
