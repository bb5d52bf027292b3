import AloftModel
import NodeAgent
import SimulatedHypervisor
import Testing

@Suite("Volumes in virtual time")
struct VolumeSimulationTests {
  let vm = VMID.sample(1)

  /// A VM with a boot volume from an image and another volume, which runs.
  private func running(_ seed: UInt64) async -> World {
    let world = World(seed: seed)
    world.plane.assign(VolumeAssignment.sample(1, source: .init(image: .sample), vm: vm))
    world.plane.assign(VolumeAssignment.sample(2, vm: vm))
    world.plane.assign(Assignment.sample(disks: [.sample(1, boot: 0), .sample(2)]))
    #expect(await world.run(seconds: 20) { world.plane.observation(vm)?.disks == [.sample(1), .sample(2)] })
    return world
  }

  private func seen(_ number: Int, _ world: World) -> VolumeObservation? {
    world.plane.observation(VolumeID.sample(number))
  }

  @Test("a VM waits for its volumes and says so; a lost image is a matter of the volume")
  func waits() async {
    let world = World(seed: 1)
    world.plane.assign(Assignment.sample(disks: [.sample(1, boot: 0)]))
    #expect(await world.run(seconds: 10) { world.plane.observation(vm)?.activity?.contains("vol_") == true })
    #expect(world.host.domain(vm) == nil)
    world.plane.assign(VolumeAssignment.sample(1, source: .init(image: .sample), vm: vm))
    #expect(await world.run(seconds: 10) { world.plane.observation(vm)?.power == .running })
    #expect(seen(1, world)?.state == .ready && seen(1, world)?.sizeBytes == 1 << 30)
    #expect(world.host.violations == [])
  }

  @Test(
    "disks come and go while the guest runs; one that it keeps is a problem, and its volume is not deleted meanwhile")
  func hotplug() async {
    let world = await running(2)
    var guest = SimulatedHost.Guest()
    guest.keepsDisks = true
    world.host.setGuest(guest, of: vm)
    world.plane.assign(Assignment.sample(generation: 6, disks: [.sample(1, boot: 0)]))
    world.plane.assign(VolumeAssignment.sample(2, generation: 2, deleted: true))
    #expect(await world.run(seconds: 90) { world.plane.observation(vm)?.problem?.code == .guestIgnored })
    #expect(seen(2, world)?.state == .ready && world.host.volume(.sample(2)) != nil)
    world.host.setGuest(SimulatedHost.Guest(), of: vm)
    #expect(await world.run(seconds: 20) { seen(2, world)?.state == .absent })
    #expect(world.plane.observation(vm)?.disks == [.sample(1)] && world.host.domain(vm)?.starts == 1)
    world.plane.assign(VolumeAssignment.sample(3, vm: vm))
    world.plane.assign(Assignment.sample(generation: 7, disks: [.sample(1, boot: 0), .sample(3, bus: .scsi)]))
    #expect(await world.run(seconds: 20) { world.plane.observation(vm)?.disks == [.sample(1), .sample(3)] })
    #expect(world.host.violations == [])
  }

  @Test("a snapshot of two volumes is told of when both have it; a revert waits until the guest is off")
  func snapshots() async {
    let world = await running(3)
    let both = [VolumeID.sample(1), .sample(2)]
    let wanted = VolumeAssignment.Snapshot.sample(1, of: both, quiesce: true)
    world.plane.assign(
      VolumeAssignment.sample(1, generation: 2, source: .init(image: .sample), vm: vm, snapshots: [wanted]))
    _ = await world.run(seconds: 5)
    #expect(seen(1, world)?.snapshots == [] && seen(1, world)?.activity?.contains("waiting for vol_") == true)
    world.plane.assign(VolumeAssignment.sample(2, generation: 2, vm: vm, snapshots: [wanted]))
    #expect(await world.run(seconds: 10) { both.allSatisfy { world.plane.observation($0)?.snapshots.count == 1 } })
    #expect(seen(1, world)?.snapshots == seen(2, world)?.snapshots && seen(1, world)?.snapshots.first?.quiesced == true)
    world.plane.assign(
      VolumeAssignment.sample(2, generation: 3, vm: vm, snapshots: [wanted], epoch: 1, base: .sample(1)))
    _ = await world.run(seconds: 10)
    #expect(seen(2, world)?.epoch == 0 && seen(2, world)?.activity?.contains("open") == true)
    world.plane.assign(
      Assignment.sample(generation: 6, power: .stopped, grace: 0, disks: [.sample(1, boot: 0), .sample(2)]))
    #expect(await world.run(seconds: 20) { seen(2, world)?.epoch == 1 })
    world.plane.assign(Assignment.sample(generation: 7, disks: [.sample(1, boot: 0), .sample(2)]))
    #expect(await world.run(seconds: 20) { world.plane.observation(vm)?.power == .running })
    #expect(world.host.violations == [])
  }

  @Test("a volume that was made and is lost keeps its VM from starting, and is not made anew")
  func lost() async {
    let world = await running(4)
    world.plane.assign(
      Assignment.sample(generation: 6, power: .stopped, grace: 0, disks: [.sample(1, boot: 0), .sample(2)]))
    #expect(await world.run(seconds: 20) { world.plane.observation(vm)?.power == .stopped })
    world.host.lose(.sample(2))
    var made = VolumeAssignment.sample(2, generation: 2, vm: vm)
    made.isMade = true
    world.plane.assign(made)
    #expect(await world.run(seconds: 20) { seen(2, world)?.problem?.code == .volumeDamaged })
    world.plane.assign(Assignment.sample(generation: 7, disks: [.sample(1, boot: 0), .sample(2)]))
    #expect(await world.run(seconds: 20) { world.plane.observation(vm)?.problem?.code == .volumeDamaged })
    #expect(world.host.volume(.sample(2)) == nil && world.host.domain(vm)?.starts == 1)
  }

  @Test("after any faults volumes and VMs come to rest where the documents want it", arguments: 1...stormSeeds)
  func storm(seed: Int) async {
    var storm = VolumeStorm(seed: UInt64(seed))
    for _ in 1...50 { await storm.step() }
    await storm.finish()
  }
}

/// Documents of two VMs and their volumes that change at random, while everything fails.
private struct VolumeStorm {
  let world: World
  var random: SplitMix
  var volumes: [Int: VolumeAssignment] = [:]
  var vms: [Int: Assignment] = [:]
  /// Which volume is attached to which VM.
  var attached: [Int: Int] = [:]
  var snapshots = 0

  init(seed: UInt64) {
    random = SplitMix(seed: seed &* 0x9e37)
    var faults = LossyLink<MemoryControlPlane>.Faults()
    faults.lostRequest = 0.1
    faults.lostAnswer = 0.1
    faults.doubled = 0.1
    faults.late = 0.1
    world = World(seed: seed, faults: faults)
    world.host.faults.refusal = 0.1
    world.host.faults.agentCrash = 0.03
    world.host.faults.lostEvent = 0.3
    for number in 1...4 {
      volumes[number] = .sample(number, source: number < 3 ? .init(image: .sample) : nil)
      if number < 3 { attached[number] = number }
    }
    for number in 1...2 { vms[number] = .sample(.sample(number)) }
    for number in 1...4 { tell(volume: number) }
    for number in 1...2 { tell(vm: number) }
  }

  private mutating func tell(volume number: Int) {
    guard var document = volumes[number] else { return }
    document.generation += 1
    document.vm = attached[number].map { .sample($0) }
    volumes[number] = document
    world.plane.assign(document)
  }

  private mutating func tell(vm number: Int) {
    guard var document = vms[number] else { return }
    document.generation += 1
    document.disks = attached.filter { $0.value == number }.keys.sorted().map { .sample($0) }
    vms[number] = document
    world.plane.assign(document)
  }

  mutating func step() async {
    _ = await world.run(seconds: Int.random(in: 0...8, using: &random))
    let (number, vm) = (Int.random(in: 1...4, using: &random), Int.random(in: 1...2, using: &random))
    switch Int.random(in: 0...13, using: &random) {
    case 0...2:
      vms[vm]?.power = Bool.random(using: &random) ? .running : .stopped
      vms[vm]?.stopGraceSeconds = [0, 5].randomElement(using: &random) ?? 5
      tell(vm: vm)
    case 3...4: plug(number, vm)
    case 5...6: snapshot(of: attached.filter { $0.value == vm }.keys.sorted())
    case 7:
      volumes[number]?.snapshots.removeAll { _ in Bool.random(using: &random) }
      tell(volume: number)
    case 8: revert(number)
    case 9:
      volumes[number]?.sizeBytes += 1 << 20
      tell(volume: number)
    case 10: world.host.guestCrashes(.sample(vm))
    case 11: world.host.losesPower()
    case 12: world.host.hypervisorRestarts()
    default: world.host.crashAgent()
    }
  }

  /// As the control plane does it: to another VM only when the one that has it has given it back.
  private mutating func plug(_ number: Int, _ vm: Int) {
    if let old = attached[number] {
      attached[number] = nil
      tell(vm: old)
    } else {
      let holders = [1, 2].filter {
        world.host.domain(.sample($0))?.disks.contains { $0.volume == .sample(number) } == true
      }
      guard holders.isEmpty else { return }
      attached[number] = vm
      tell(vm: vm)
    }
    tell(volume: number)
  }

  private mutating func snapshot(of numbers: [Int]) {
    guard !numbers.isEmpty else { return }
    snapshots += 1
    for number in numbers {
      volumes[number]?.snapshots.append(.sample(snapshots, of: numbers.map { .sample($0) }, quiesce: true))
      tell(volume: number)
    }
  }

  private mutating func revert(_ number: Int) {
    let taken = world.plane.observation(VolumeID.sample(number))?.snapshots.map(\.id) ?? []
    guard let document = volumes[number],
      let base = document.snapshots.first(where: { taken.contains($0.id) })?.id
    else { return }
    volumes[number]?.epoch += 1
    volumes[number]?.base = base
    tell(volume: number)
  }

  mutating func finish() async {
    world.host.faults = SimulatedHost.Faults()
    world.link.set(LossyLink.Faults())
    // A revert needs its guest off and its snapshot there; a snapshot needs all of its volumes.
    for number in 1...4 {
      let stored = world.host.volume(.sample(number))
      if let base = volumes[number]?.base, stored?.epoch != volumes[number]?.epoch,
        volumes[number]?.snapshots.contains(where: { $0.id == base }) != true
      {
        volumes[number]?.epoch = stored?.epoch ?? 0
      }
      let known = volumes
      volumes[number]?.snapshots.removeAll { snapshot in
        !(1...4).allSatisfy { other in
          !snapshot.volumes.contains(.sample(other))
            || known[other]?.snapshots.contains { $0.id == snapshot.id } == true
        }
      }
    }
    for vm in 1...2 {
      vms[vm]?.power = .stopped
      vms[vm]?.stopGraceSeconds = 0
      tell(vm: vm)
    }
    for number in 1...4 { tell(volume: number) }
    let (cloud, documents) = (world, volumes)
    let settled = await cloud.run(seconds: 300) { (1...4).allSatisfy { Self.isSettled(cloud, $0, documents[$0]) } }
    let state = report
    #expect(settled, "\(state)")
    for vm in 1...2 {
      vms[vm]?.power = .running
      tell(vm: vm)
    }
    let wanted = vms
    let runs = await cloud.run(seconds: 300) { (1...2).allSatisfy { Self.runs(cloud, $0, wanted[$0]) } }
    let end = report
    #expect(runs, "\(end)")
    #expect(cloud.host.violations == [])
  }

  private static func runs(_ world: World, _ number: Int, _ document: Assignment?) -> Bool {
    guard let document, let seen = world.plane.observation(VMID.sample(number)) else { return false }
    return seen.power == .running && Set(seen.disks) == Set(document.disks.map(\.volume))
  }

  private var report: String {
    (1...4).map { number in
      let volume = VolumeID.sample(number)
      return
        "\(String(describing: volumes[number]))\n  \(String(describing: world.host.volume(volume)))\n  \(String(describing: world.plane.observation(volume)))"
    }.joined(separator: "\n")
  }

  private static func isSettled(_ world: World, _ number: Int, _ document: VolumeAssignment?) -> Bool {
    guard let document, let seen = world.plane.observation(VolumeID.sample(number)) else { return false }
    return seen.generation == document.generation && seen.state == .ready && seen.problem == nil
      && seen.sizeBytes == document.sizeBytes && seen.epoch == document.epoch
      && Set(seen.snapshots.map(\.id)) == Set(document.snapshots.map(\.id))
  }
}
