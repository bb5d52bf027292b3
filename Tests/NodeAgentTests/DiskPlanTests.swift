import AloftModel
import Testing

@testable import NodeAgent

@Suite("Plan of disks")
struct DiskPlanTests {
  static let disk = Assignment.Disk.sample(1, boot: 0)
  static let other = Assignment.Disk.sample(2)
  static let ready = DiskSituation(sources: "s", ready: [.sample(1), .sample(2)])
  static let problem = Observation.Problem(code: .volumeDamaged, detail: "gone")
  static let waiting = DiskSituation(
    sources: nil, ready: [.sample(1)], activity: "fetching the image", progress: 40, problem: problem)

  func plan(
    _ desired: Assignment, _ power: DomainPower?, disks: [Int] = [], limits: IOLimits = IOLimits(),
    situation: DiskSituation = ready,
    tag sources: String = "s", devices: DeviceProgress = DeviceProgress(), files: VMFiles = PlanTests.whole,
    now: Int = 1_000_000
  ) -> Plan {
    let domain = power.map { power in
      VMDomain(
        vm: .sample(1),
        tag: DomainTag(incarnation: 2, generation: 5, ranGeneration: 5, digest: "d", disks: sources), power: power)
    }
    let plugged = disks.map { DomainDisk(volume: .sample($0), source: .file("/\($0)"), target: "vda", limits: limits) }
    return Plan.make(
      desired, ActualVM(domain: domain, files: files, disks: plugged), digest: "d", stop: nil, devices: devices,
      disks: situation, now: now)
  }

  @Test("nothing is defined or started before the volumes are ready; what is waited for is told")
  func waits() {
    let document = Assignment.sample(disks: [Self.disk, Self.other])
    let new = plan(document, nil, situation: Self.waiting, files: VMFiles())
    #expect(new.steps == [.createSeed] && new.waitsForDisks)
    let plan = plan(document, .off(.destroyed), situation: Self.waiting)
    #expect(plan.steps == [] && plan.activity == "fetching the image" && plan.progress == 40)
    #expect(plan.problem == Self.problem)
    #expect(self.plan(document, .off(.destroyed)).steps == [.start])
  }

  @Test("a definition with other layers than the newest is renewed, before a start and at rest, not under a guest")
  func layers() {
    let document = Assignment.sample(disks: [Self.disk])
    let tag = DomainTag(incarnation: 2, generation: 5, ranGeneration: 5, digest: "d", disks: "s")
    #expect(plan(document, .off(.failed), tag: "old").steps == [.define(tag), .start])
    var stopped = document
    stopped.power = .stopped
    #expect(plan(stopped, .off(.failed), tag: "old").steps == [.define(tag)])
    #expect(plan(stopped, .off(.failed)) == Plan())
    var rests = tag
    rests.guestStopped = true
    #expect(plan(document, .off(.guestShutdown), tag: "old").steps == [.define(rests)])
    #expect(plan(document, .running, disks: [1], tag: "old") == Plan())
  }

  @Test("disks are plugged into and asked of a guest that runs; one that is not ready is waited for")
  func hotplug() {
    let document = Assignment.sample(disks: [Self.disk, Self.other])
    #expect(plan(document, .running, disks: [1]).steps == [.attach(Self.other)])
    let waiting = plan(document, .running, disks: [1], situation: Self.waiting)
    #expect(waiting.steps == [] && waiting.activity == "fetching the image" && waiting.waitsForDisks)
    #expect(plan(.sample(disks: [Self.disk]), .running, disks: [1, 2]).steps == [.detach(.sample(2))])
    #expect(plan(.sample(power: .stopped, disks: []), .off(.destroyed), disks: [], tag: "s").steps == [])
  }

  @Test(
    "a guest that runs is held to the limits of its document, whatever held it before; one that is off is not touched")
  func limits() {
    let limits = IOLimits([.totalIOPS: IOLimit(perSecond: 100)])
    let disk = Assignment.Disk.sample(1, boot: 0, limits: limits)
    let document = Assignment.sample(disks: [disk])
    #expect(plan(document, .running, disks: [1]).steps == [.limit(disk)])
    #expect(plan(document, .running, disks: [1], limits: limits).steps == [])
    #expect(plan(.sample(disks: [Self.disk]), .running, disks: [1], limits: limits).steps == [.limit(Self.disk)])
    #expect(plan(document, .off(.destroyed)).steps == [.start])
    func seen(_ limits: IOLimits) -> [VolumeID]? {
      let disks = [DomainDisk(volume: .sample(1), source: .file("/1"), target: "vda", limits: limits)]
      return Observation.of(
        document.vm, desired: document, actual: ActualVM(disks: disks), plan: Plan(), activity: nil, progress: nil,
        problem: nil
      ).staleDisks
    }
    #expect(seen(IOLimits()) == [.sample(1)] && seen(limits) == nil)
  }

  @Test("a guest that keeps a disk is asked again, and in the end somebody is told")
  func keeps() {
    func plan(first: Int, last: Int) -> Plan {
      self.plan(
        .sample(disks: []), .running, disks: [1], situation: DiskSituation(sources: "s"),
        devices: DeviceProgress(detaches: [.sample(1): .init(askedFirst: first, askedLast: last)]))
    }
    #expect(plan(first: 995_000, last: 995_000).steps == [])
    #expect(plan(first: 995_000, last: 995_000).wakeAt == 1_005_000)
    #expect(plan(first: 980_000, last: 990_000).steps == [.detach(.sample(1))])
    #expect(plan(first: 940_000, last: 995_000).problem?.code == .guestIgnored)
    #expect(plan(first: 941_000, last: 995_000).problem == nil)
  }
}
