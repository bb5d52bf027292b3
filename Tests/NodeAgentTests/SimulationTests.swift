import AloftModel
import Foundation
import NodeAgent
import SimulatedHypervisor
import Testing

/// How many runs each storm gets; set ALOFT_SEEDS for more.
let stormSeeds = ProcessInfo.processInfo.environment["ALOFT_SEEDS"].flatMap { Int($0) } ?? 45

@Suite("Agent in virtual time")
struct SimulationTests {
  let vm = VMID.sample(1)

  @Test("a guest with NICs runs when its ports are installed, and not before; meanwhile it is said what is missing")
  func ports() async {
    let world = World(seed: 11)
    world.host.faults.portsAreMissing = true
    world.plane.assign(Assignment.sample().with([.sample(1)]))
    #expect(await world.run(seconds: 10) { world.plane.observation(vm)?.activity?.contains("network port") == true })
    #expect(world.plane.observation(vm)?.power == .paused && world.power(vm) == .paused(.asked))
    #expect(await world.run(seconds: 60) { world.plane.observation(vm)?.problem?.code == .networkNotReady })
    // The agent dies, another one goes on waiting.
    world.host.crashAgent()
    #expect(await !world.run(seconds: 20) { world.power(vm) == .running })
    world.host.faults.portsAreMissing = false
    #expect(await world.run(seconds: 10) { world.plane.observation(vm)?.power == .running })
    #expect(world.plane.observation(vm)?.problem == nil && world.plane.observation(vm)?.nics == [.sample(1)])
    #expect(world.host.domain(vm)?.ranWithoutPorts == false && world.host.domain(vm)?.starts == 1)
  }

  @Test("NICs come and go while the guest runs; one that it keeps is a problem, and goes when it is stopped")
  func hotplug() async {
    let world = World(seed: 12)
    world.plane.assign(Assignment.sample().with([.sample(1)]))
    #expect(await world.run(seconds: 10) { world.plane.observation(vm)?.power == .running })
    world.plane.assign(Assignment.sample(generation: 6).with([.sample(1), .sample(2)]))
    #expect(await world.run(seconds: 10) { world.plane.observation(vm)?.nics == [.sample(1), .sample(2)] })
    var guest = SimulatedHost.Guest()
    guest.keepsNICs = true
    world.host.setGuest(guest, of: vm)
    world.plane.assign(Assignment.sample(generation: 7).with([.sample(2)]))
    #expect(await world.run(seconds: 90) { world.plane.observation(vm)?.problem?.code == .guestIgnored })
    #expect(world.plane.observation(vm)?.nics == [.sample(1), .sample(2)])
    world.host.setGuest(SimulatedHost.Guest(), of: vm)
    #expect(await world.run(seconds: 20) { world.plane.observation(vm)?.nics == [.sample(2)] })
    #expect(world.plane.observation(vm)?.problem == nil && world.host.domain(vm)?.starts == 1)
    world.plane.assign(.sample(generation: 8).with([]))
    #expect(await world.run(seconds: 20) { world.plane.observation(vm)?.nics == [] }, "the last one")
    #expect(world.plane.observation(vm)?.generation == 8)
  }

  @Test("a document becomes a running guest, and the control plane hears of it")
  func creation() async {
    let world = World(seed: 1)
    world.plane.assign(Assignment.sample())
    #expect(
      await world.run(seconds: 5) {
        world.plane.observation(vm)?.power == .running
          && world.plane.observation(vm)?.activity == nil
      })
    let observation = world.plane.observation(vm)
    #expect(observation?.generation == 5 && observation?.incarnation == 2)
    #expect(observation?.problem == nil)
    #expect(world.host.domain(vm)?.starts == 1)
  }

  @Test("VMs that wait for one image share its download")
  func sharedDownload() async {
    let world = World(seed: 2)
    for number in 1...20 {
      world.plane.assign(VolumeAssignment.sample(number, source: .init(image: .sample), vm: .sample(number)))
      world.plane.assign(Assignment.sample(.sample(number), disks: [.sample(number, boot: 0)]))
    }
    #expect(
      await world.run(seconds: 20) { (1...20).allSatisfy { world.power(.sample($0)) == .running } })
    #expect(world.host.downloads == 1)
  }

  @Test("a guest that ignores the power button is off after the grace, not before")
  func grace() async {
    let world = World(seed: 3)
    var guest = SimulatedHost.Guest()
    guest.ignoresACPI = true
    world.host.setGuest(guest, of: vm)
    world.plane.assign(Assignment.sample())
    #expect(await world.run(seconds: 5) { world.power(vm) == .running })
    world.plane.assign(Assignment.sample(generation: 6, power: .stopped, grace: 30))
    #expect(await world.run(seconds: 2) { !world.host.journal(vm).isEmpty })
    let asked = world.clock.now().uptime
    // A new process goes on with the same deadline.
    _ = await world.run(seconds: 20)
    world.host.crashAgent()
    #expect(world.power(vm) == .running)
    #expect(await world.run(seconds: 30) { world.power(vm) == .off(.destroyed) })
    #expect((29_000...33_000).contains(world.clock.now().uptime - asked))
    #expect(await world.run(seconds: 5) { world.plane.observation(vm)?.power == .stopped })
    // It is told that the guest did not go by itself, also by the next process, until it runs again.
    #expect(await world.run(seconds: 5) { world.plane.observation(vm)?.problem?.code == .guestIgnored })
    world.host.crashAgent()
    _ = await world.run(seconds: 30)
    #expect(world.plane.observation(vm)?.problem?.detail.contains("its power was cut") == true)
    world.plane.assign(Assignment.sample(generation: 7))
    #expect(await world.run(seconds: 5) { world.plane.observation(vm)?.power == .running })
    #expect(await world.run(seconds: 5) { world.plane.observation(vm)?.problem == nil })
  }

  @Test("a guest that is slow to shut down is told of from half of its grace on, and no more when it has gone")
  func slowGuest() async {
    let world = World(seed: 9)
    var guest = SimulatedHost.Guest()
    guest.shutdownTime = 25_000
    world.host.setGuest(guest, of: vm)
    world.plane.assign(Assignment.sample())
    #expect(await world.run(seconds: 5) { world.power(vm) == .running })
    world.plane.assign(Assignment.sample(generation: 6, power: .stopped, grace: 30))
    _ = await world.run(seconds: 13)
    #expect(world.plane.observation(vm)?.problem == nil)
    _ = await world.run(seconds: 6)
    #expect(world.plane.observation(vm)?.power == .running)
    #expect(world.plane.observation(vm)?.problem?.code == .guestIgnored)
    #expect(await world.run(seconds: 15) { world.plane.observation(vm)?.power == .stopped })
    #expect(world.plane.observation(vm)?.problem == nil)
  }

  @Test(
    "a guest that turned itself off stays off through restarts of agent and libvirtd, until it is wanted anew"
  )
  func guestStops() async {
    let world = World(seed: 4)
    world.plane.assign(Assignment.sample())
    #expect(await world.run(seconds: 5) { world.plane.observation(vm)?.power == .running })
    world.host.guestPowersOff(vm)
    #expect(await world.run(seconds: 15) { world.plane.observation(vm)?.guestStopped == true })
    world.host.hypervisorRestarts()
    world.host.crashAgent()
    _ = await world.run(seconds: 120)
    #expect(world.power(vm)?.isActive == false && world.host.domain(vm)?.starts == 1)
    world.plane.assign(Assignment.sample(generation: 6))
    #expect(await world.run(seconds: 15) { world.plane.observation(vm)?.power == .running })
    #expect(world.plane.observation(vm)?.guestStopped == false)
  }

  @Test("a guest that crashes is started again, ever more slowly")
  func crashes() async {
    let world = World(seed: 5)
    world.plane.assign(Assignment.sample())
    #expect(await world.run(seconds: 5) { world.power(vm) == .running })
    for _ in 1...8 {
      world.host.guestCrashes(vm)
      #expect(await world.run(seconds: 70) { world.power(vm) == .running })
    }
    let before = world.clock.now().uptime
    world.host.guestCrashes(vm)
    #expect(await world.run(seconds: 70) { world.power(vm) == .running })
    #expect(world.clock.now().uptime - before > 30_000)
  }

  @Test(
    "while the control plane cannot be reached no guest is touched, and afterwards it hears everything"
  )
  func unreachable() async {
    let world = World(seed: 6)
    world.plane.assign(Assignment.sample())
    #expect(await world.run(seconds: 5) { world.plane.observation(vm)?.power == .running })
    world.plane.isUnreachable = true
    world.host.crashAgent()
    _ = await world.run(seconds: 600)
    #expect(world.power(vm) == .running && world.host.domain(vm)?.starts == 1)
    world.host.guestPowersOff(vm)
    world.plane.isUnreachable = false
    #expect(await world.run(seconds: 30) { world.plane.observation(vm)?.power == .stopped })
  }

  @Test("an agent that starts on a host whose clock was set back is still heard")
  func clockSetBack() async {
    let world = World(seed: 8)
    world.plane.assign(Assignment.sample())
    #expect(await world.run(seconds: 5) { world.plane.observation(vm)?.power == .running })
    for _ in 1...3 {
      world.clock.setWall(by: -365 * 24 * 3_600_000)
      world.host.crashAgent()
      let before = world.plane.observation(vm)?.sequence ?? 0
      #expect(await world.run(seconds: 30) { (world.plane.observation(vm)?.sequence ?? 0) > before })
    }
    world.host.guestPowersOff(vm)
    #expect(await world.run(seconds: 30) { world.plane.observation(vm)?.guestStopped == true })
  }

  @Test("a VM that cannot be begun because libvirt is down says so; one that was begun is not said to be absent")
  func hypervisorDown() async {
    let world = World(seed: 10)
    world.plane.assign(Assignment.sample())
    #expect(await world.run(seconds: 5) { world.plane.observation(vm)?.power == .running })
    world.host.faults.isUnavailable = true
    let new = VMID.sample(2)
    world.plane.assign(Assignment.sample(new))
    #expect(await world.run(seconds: 10) { world.plane.observation(new) != nil })
    let waiting = world.plane.observation(new)
    #expect(waiting?.power == .absent && waiting?.generation == 0 && waiting?.problem == nil)
    #expect(waiting?.activity?.contains("libvirt is down") == true)
    // Another process knows nothing of the one that runs, and says nothing.
    world.host.crashAgent()
    _ = await world.run(seconds: 120)
    #expect(world.plane.observation(vm)?.power == .running)
    // Not even a deletion is over before somebody has looked.
    var deleted = Assignment.sample(new, generation: 6)
    deleted.deleted = true
    world.plane.assign(deleted)
    _ = await world.run(seconds: 30)
    #expect(world.plane.observation(new)?.generation == 0)
    world.host.faults.isUnavailable = false
    #expect(await world.run(seconds: 30) { world.plane.observation(new)?.generation == 6 })
    #expect(world.plane.observation(new)?.power == .absent)
  }

  @Test("a domain without a document is reported and left alone")
  func unknown() async {
    let world = World(seed: 7)
    world.plane.assign(Assignment.sample())
    #expect(await world.run(seconds: 5) { world.power(vm) == .running })
    world.plane.drop(vm)
    world.plane.state.withLock { $0.observations = [:] }
    world.host.crashAgent()
    #expect(await world.run(seconds: 30) { world.plane.observation(vm)?.power == .running })
    #expect(world.plane.observation(vm)?.generation == 5)
    #expect(world.power(vm) == .running)
  }

  @Test("a request is carried out once, whatever is lost or dies", arguments: 1...stormSeeds / 3)
  func requests(seed: Int) async {
    var faults = LossyLink<MemoryControlPlane>.Faults()
    faults.lostRequest = 0.2
    faults.lostAnswer = 0.2
    faults.doubled = 0.2
    let world = World(seed: UInt64(seed) * 77, faults: faults)
    world.plane.assign(Assignment.sample())
    #expect(await world.run(seconds: 60) { world.power(vm) == .running })
    world.host.faults.agentCrash = 0.2
    let requests: [Assignment.Request] = [.sample(1, .reboot), .sample(2, .reset)]
    world.plane.assign(Assignment.sample(generation: 6, requests: requests))
    let all = Set(requests.map(\.id))
    #expect(
      await world.run(seconds: 600) {
        Set(world.plane.observation(vm)?.completedRequests ?? []) == all
      })
    #expect((world.host.domain(vm)?.reboots ?? 9) <= 1)
    #expect((world.host.domain(vm)?.resets ?? 9) <= 1)
  }

  @Test("after any faults everything comes to rest where the documents want it", arguments: 1...stormSeeds)
  func storm(seed: Int) async {
    var random = SplitMix(seed: UInt64(seed) &* 0x9e37)
    var faults = LossyLink<MemoryControlPlane>.Faults()
    faults.lostRequest = 0.15
    faults.lostAnswer = 0.15
    faults.doubled = 0.1
    faults.late = 0.1
    let world = World(seed: UInt64(seed), faults: faults)
    world.host.faults.refusal = 0.1
    world.host.faults.agentCrash = 0.03
    world.host.faults.lostEvent = 0.3
    let vms = (1...5).map(VMID.sample)
    var documents: [VMID: Assignment] = [:]
    for _ in 1...60 {
      _ = await world.run(seconds: Int.random(in: 0...8, using: &random))
      let vm = vms.randomElement(using: &random) ?? vms[0]
      switch Int.random(in: 0...11, using: &random) {
      case 0...4:
        guard documents[vm]?.deleted != true else { break }
        var document = documents[vm] ?? .sample(vm, generation: 0)
        document.generation += 1
        document.power = Bool.random(using: &random) ? .running : .stopped
        document.stopGraceSeconds = [0, 5, 30].randomElement(using: &random) ?? 5
        documents[vm] = document
        world.plane.assign(document)
      case 5:
        guard var document = documents[vm] else { break }
        document.generation += 1
        document.deleted = true
        documents[vm] = document
        world.plane.assign(document)
      case 6: world.host.guestPowersOff(vm)
      case 7: world.host.guestCrashes(vm)
      case 8: world.host.hypervisorRestarts()
      case 9: world.host.losesPower()
      case 10: world.host.removeDomain(vm)
      default: world.host.guestPauses(vm, .ioError)
      }
    }
    world.host.faults = SimulatedHost.Faults()
    world.link.set(LossyLink.Faults())
    let final = documents
    let settled = await world.run(seconds: 400) {
      vms.allSatisfy { isSettled(world, $0, final[$0]) }
    }
    #expect(
      settled,
      "\(vms.filter { !isSettled(world, $0, final[$0]) }.map { (world.host.domain($0), world.plane.observation($0), final[$0]) })"
    )
  }

  private func isSettled(_ world: World, _ vm: VMID, _ document: Assignment?) -> Bool {
    guard let document else { return world.host.domain(vm) == nil }
    guard let seen = world.plane.observation(vm), seen.generation == document.generation,
      seen.problem == nil || seen.problem?.code == .guestIgnored
    else {
      return false
    }
    let domain = world.host.domain(vm)
    if document.deleted {
      return domain == nil && !world.host.files(vm).any && seen.power == .absent
    }
    guard let domain, domain.tag.generation == document.generation else { return false }
    switch document.power {
    case .stopped: return !domain.power.isActive && seen.power == .stopped
    case .running:
      return seen.guestStopped
        ? domain.tag.guestStopped && !domain.power.isActive
        : domain.power == .running && seen.power == .running
    }
  }

  @Test("the same seed gives the same run")
  func repeatable() async {
    var ends: [Int] = []
    for _ in 1...2 {
      let world = World(seed: 99)
      for number in 1...5 { world.plane.assign(Assignment.sample(.sample(number))) }
      _ = await world.run(seconds: 60) {
        (1...5).allSatisfy { world.plane.observation(.sample($0))?.power == .running }
      }
      ends.append(world.clock.now().uptime)
    }
    #expect(ends[0] == ends[1])
  }
}
