import AloftModel
import Foundation
import Glibc
import LibvirtTestSupport
import TestSupport
import Testing

@testable import NodeAgent

@Suite("Volumes of real guests", .serialized)
struct RealVolumeTests {
  let vm = VMID.sample(1)
  let snapshot = SnapshotID.sample(1)

  /// The source that the newest layer of a volume is in.
  private func path(_ number: Int, _ node: RealNode) async throws -> String {
    try await node.stored(.sample(number)).source.path
  }

  @Test(
    "a volume is plugged in, grown, snapshot with the boot volume at one instant, and given back while the guest runs; a revert brings old data back"
  )
  func life() async throws {
    let node = try await RealNode()
    let agent = try await node.start()
    var boot = node.bootVolume(of: vm)
    var data = VolumeAssignment.sample(2, mib: 64)
    node.plane.assign(boot)
    node.plane.assign(data)
    node.plane.assign(node.document(vm, generation: 1))
    try await node.wait("ALOFT-READY") { node.log(vm).contains("ALOFT-READY") }
    try await node.wait("a volume without a guest") { node.seen(VolumeID.sample(2))?.state == .ready }

    data.vm = vm
    data.generation = 2
    node.plane.assign(data)
    node.plane.assign(node.document(vm, generation: 2, disks: [.sample(1, boot: 0), .sample(2)]))
    try await node.wait("the second disk") { node.seen(vm)?.disks == [.sample(1), .sample(2)] }
    try await node.wait("the guest's word") { node.log(vm).contains("serial=\(VolumeID.sample(2).serial)") }

    // Limits are changed under the guest, and removed again.
    let limits = IOLimits([
      .totalIOPS: IOLimit(perSecond: 5000, burst: 9000, burstSeconds: 20), .readBytes: IOLimit(perSecond: 64 << 20),
      .writeBytes: IOLimit(perSecond: 64 << 20, burst: 128 << 20),
    ])
    let hypervisor = LibvirtHypervisor(uri: node.libvirt.uri, logger: quietLogger)
    func held() async throws -> [IOLimits] { try await hypervisor.disks(of: vm).map(\.limits) }
    for (generation, wanted) in [(3, limits), (4, IOLimits([.writeIOPS: IOLimit(perSecond: 700)])), (5, IOLimits())] {
      node.plane.assign(
        node.document(vm, generation: generation, disks: [.sample(1, boot: 0), .sample(2, limits: wanted)]))
      try await node.wait("the limits of generation \(generation)") {
        node.seen(vm)?.generation == generation && node.seen(vm)?.staleDisks == nil
      }
      #expect(try await held() == [IOLimits(), wanted])
    }

    data.sizeBytes = 96 << 20
    data.generation = 3
    node.plane.assign(data)
    try await node.wait("growth") { node.seen(VolumeID.sample(2))?.sizeBytes == 96 << 20 }
    try await node.wait("the guest's word") { node.log(vm).contains("sectors=196608") }

    let both = [VolumeID.sample(1), .sample(2)]
    boot.generation = 2
    boot.snapshots = [VolumeAssignment.Snapshot(id: snapshot, isTaken: false, volumes: both, quiesce: true)]
    data.generation = 4
    data.snapshots = boot.snapshots
    node.plane.assign(boot)
    node.plane.assign(data)
    try await node.wait("the snapshot") { both.allSatisfy { node.seen($0)?.snapshots.map(\.id) == [snapshot] } }
    let taken = both.compactMap { node.seen($0)?.snapshots.first }
    #expect(taken.count == 2 && Set(taken.map(\.takenAt)).count == 1)
    #expect(taken.map(\.quiesced) == [true, true], "the guest has an agent")

    data.vm = nil
    data.generation = 5
    node.plane.assign(node.document(vm, generation: 6))
    node.plane.assign(data)
    try await node.wait("the guest to give it back") { node.seen(vm)?.disks == [.sample(1)] }

    // Off: what is written now goes with the revert. Layers of deleted snapshots are merged.
    node.plane.assign(node.document(vm, generation: 7, power: .stopped, grace: 0))
    try await node.wait("the end") { node.seen(vm)?.power == .stopped }
    try await run("qemu-io", "-f", "qcow2", "-c", "write -q -P 9 900M 1M", try await path(1, node))
    boot.generation = 3
    boot.epoch = 1
    boot.base = snapshot
    node.plane.assign(boot)
    try await node.wait("the revert") { node.seen(VolumeID.sample(1))?.epoch == 1 }
    try await run("qemu-io", "-r", "-f", "qcow2", "-c", "read -q -P 0 900M 1M", try await path(1, node))
    node.plane.assign(node.document(vm, generation: 8))
    try await node.wait("the second boot") { node.log(vm).contains("boots=2") }
    boot.generation = 4
    boot.snapshots = []
    data.generation = 6
    data.snapshots = []
    node.plane.assign(boot)
    node.plane.assign(data)
    try await node.wait("no snapshot") { both.allSatisfy { node.seen($0)?.snapshots.isEmpty == true } }
    try await node.wait("the merges, one of them under the guest") {
      FileSystem.names(in: node.data + "/layers").count == 2
    }
    node.plane.assign(node.document(vm, generation: 9, power: .stopped, grace: 0))
    try await node.wait("the second end") { node.seen(vm)?.power == .stopped }
    try await run("qemu-img", "check", "-q", try await path(1, node))

    // A volume that is deleted while its guest runs waits for the guest.
    node.plane.assign(node.document(vm, generation: 10))
    try await node.wait("the third start") { node.seen(vm)?.disks == [.sample(1)] }
    boot.generation = 5
    boot.deleted = true
    node.plane.assign(boot)
    try await node.wait("the reason") { node.seen(VolumeID.sample(1))?.activity?.contains("open") == true }
    node.plane.assign(node.document(vm, generation: 11, deleted: true))
    try await node.wait("the deletion") {
      node.seen(VolumeID.sample(1))?.state == .absent && node.seen(vm)?.power == .absent
    }
    data.generation = 7
    data.deleted = true
    node.plane.assign(data)
    try await node.wait("the other deletion") { node.seen(VolumeID.sample(2))?.state == .absent }
    #expect(FileSystem.names(in: node.data + "/layers") == [] && FileSystem.names(in: node.data + "/volumes") == [])
    agent.cancel()
    await agent.value
    try await node.libvirt.stop()
  }

  @Test("a volume that QEMU has open, and libvirt has forgotten since it died, can be had again")
  func remains() async throws {
    let node = try await RealNode()
    let agent = try await node.start()
    var data = VolumeAssignment.sample(2, mib: 64)
    node.plane.assign(node.bootVolume(of: vm))
    node.plane.assign(data)
    node.plane.assign(node.document(vm, generation: 1))
    try await node.wait("the guest") { node.seen(vm)?.power == .running }
    try await node.wait("a volume without a guest") { node.seen(VolumeID.sample(2))?.state == .ready }

    // What libvirtd has done when it dies before it plugs the disk in.
    let file = try await path(2, node)
    for options in [
      #"{"driver": "file", "filename": "\#(file)", "node-name": "libvirt-9-storage"}"#,
      #"{"driver": "qcow2", "file": "libvirt-9-storage", "node-name": "libvirt-9-format"}"#,
    ] {
      let answer = try await run(
        "virsh", "--quiet", "--connect", node.libvirt.uri, "qemu-monitor-command", vm.description,
        #"{"execute": "blockdev-add", "arguments": \#(options)}"#)
      #expect(!answer.contains("error"), "\(answer)")
    }
    await #expect(throws: CommandFailure.self, "its lock is held") {
      try await run("qemu-io", "-f", "qcow2", "-c", "write -q 0 1M", file)
    }
    try await node.libvirt.kill9()
    try await node.libvirt.restart()

    data.vm = vm
    data.generation = 2
    node.plane.assign(data)
    node.plane.assign(node.document(vm, generation: 2, disks: [.sample(1, boot: 0), .sample(2)]))
    try await node.wait("the second disk") { node.seen(vm)?.disks == [.sample(1), .sample(2)] }
    agent.cancel()
    await agent.value
    try await node.libvirt.stop()
  }

  @Test("layers are merged as soon as the last clone that kept them apart has gone")
  func neighbours() async throws {
    let node = try await RealNode()
    let agent = try await node.start()
    var data = VolumeAssignment.sample(2, mib: 64)
    data.snapshots = [.init(id: .sample(1), isTaken: false, volumes: [.sample(2)], quiesce: false)]
    node.plane.assign(data)
    try await node.wait("the snapshot") { node.seen(VolumeID.sample(2))?.snapshots.count == 1 }
    var clone = VolumeAssignment.sample(3, mib: 64, source: .init(snapshot: .sample(1), of: .sample(2)))
    node.plane.assign(clone)
    try await node.wait("the clone") { node.seen(VolumeID.sample(3))?.state == .ready }
    data.generation += 1
    data.snapshots = []
    node.plane.assign(data)
    try await node.wait("the snapshot's end") { node.seen(VolumeID.sample(2))?.snapshots.isEmpty == true }
    #expect(try await node.stored(.sample(2)).depth == 2)
    clone.generation += 1
    clone.deleted = true
    node.plane.assign(clone)
    // While two are being merged it is not whole for who looks from outside.
    _ = try await found("one layer", within: .seconds(60)) {
      (try? await node.stored(.sample(2)))?.depth == 1 ? true : nil
    }
    agent.cancel()
    await agent.value
    try await node.libvirt.stop()
  }

  @Test("a guest whose QEMU answers nothing is ended all the same, by an agent that sees it for the first time")
  func silentQEMU() async throws {
    let node = try await RealNode()
    var agent = try await node.start()
    node.plane.assign(node.bootVolume(of: vm))
    node.plane.assign(node.document(vm, generation: 1))
    try await node.wait("the guest") { node.seen(vm)?.power == .running }
    agent.cancel()
    await agent.value
    let pid = try #require(try node.libvirt.guestPid(vm.description))
    kill(pid, SIGSTOP)
    agent = try await node.start()
    node.plane.assign(node.document(vm, generation: 2, power: .stopped, grace: 0))
    try await node.wait("the end") { node.seen(vm)?.power == .stopped }
    agent.cancel()
    await agent.value
    try await node.libvirt.stop()
  }
}
