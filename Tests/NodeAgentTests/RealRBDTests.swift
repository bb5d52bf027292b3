import AloftModel
import CephTestSupport
import Foundation
import LibvirtTestSupport
import TestSupport
import Testing

@testable import NodeAgent

@Suite(
  "Volumes of real guests in Ceph", .serialized, .enabled(if: PrivateCeph.isInstalled, "\(PrivateCeph.missing)"))
struct RealRBDTests {
  let vm = VMID.sample(1)
  let snapshot = SnapshotID.sample(1)

  @Test(
    "a guest's disk goes from one agent to another, which boots from what was written; an agent that takes it back by force cuts the other's guest off"
  )
  func handOver() async throws {
    let ceph = try await PrivateCeph.shared()
    let access = try await ceph.access()
    let client = access.client + "b"
    let there = CephAccess(
      pool: access.pool, client: client, configuration: access.configuration,
      keyring: try await ceph.client(client, of: access.pool))
    let (first, second) = (
      try await RealNode(clusters: ["shared": access]), try await RealNode(clusters: ["shared": there])
    )
    let agents = [try await first.start(), try await second.start()]
    var boot = first.bootVolume(of: vm)
    boot.pool = "shared"
    first.plane.assign(boot)
    first.plane.assign(first.document(vm, generation: 1))
    try await first.wait("the first boot") { first.log(vm).contains("ALOFT-READY") }

    boot.isMade = true
    boot.generation = 2
    boot.released = true
    first.plane.assign(boot)
    try await first.wait("the reason") { first.seen(VolumeID.sample(1))?.activity?.contains("open") == true }
    #expect(first.seen(VolumeID.sample(1))?.state == .ready, "its guest has it")
    first.plane.assign(first.document(vm, generation: 2, power: .stopped))
    try await first.wait("the release") { first.seen(VolumeID.sample(1))?.state == .released }

    boot.generation = 3
    boot.released = nil
    second.plane.assign(boot)
    second.plane.assign(second.document(vm, generation: 3))
    try await second.wait("the second boot") { second.log(vm).contains("boots=2") }

    // The second one is given up while its guest runs.
    boot.generation = 4
    boot.fence = true
    first.plane.assign(boot)
    first.plane.assign(first.document(vm, generation: 4))
    try await first.wait("the third boot") { first.log(vm).contains("boots=3") }
    #expect(try await ceph.exec("ceph", "osd", "blocklist", "ls").contains("127.0.0.1"))
    for agent in agents { agent.cancel() }
    for agent in agents { await agent.value }
    try await first.libvirt.stop()
    try await second.libvirt.stop()
  }

  @Test(
    "a guest boots from an image in Ceph; a volume is plugged in, grown and snapshot with the boot volume while it runs; a revert brings old data back; nothing is left"
  )
  func life() async throws {
    let access = try await PrivateCeph.shared().access()
    let node = try await RealNode(clusters: ["shared": access])
    let agent = try await node.start()
    var boot = node.bootVolume(of: vm)
    boot.pool = "shared"
    var data = VolumeAssignment.sample(2, mib: 64)
    data.pool = "shared"
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
    try await node.wait("the guest to go on") { node.seen(vm)?.power == .running }

    // Another host cannot take away what a guest has open.
    let pool = try #require(node.storage.pool("shared"))
    #expect(try await pool.isOpen(.sample(1)))
    await #expect { try await pool.delete(.sample(1)) } throws: { ($0 as? AgentFailure)?.kind == .volumeInUse }

    data.vm = nil
    data.generation = 5
    node.plane.assign(node.document(vm, generation: 3))
    node.plane.assign(data)
    try await node.wait("the guest to give it back") { node.seen(vm)?.disks == [.sample(1)] }

    // Off: what is written now goes with the revert.
    node.plane.assign(node.document(vm, generation: 4, power: .stopped, grace: 0))
    try await node.wait("the end") { node.seen(vm)?.power == .stopped }
    func qemu(_ command: String) async throws {
      guard case .whole(let stored) = try await pool.look(.sample(1)) else { throw AgentFailure(.storage, "not whole") }
      let image = String(stored.source.path.split(separator: "/").last ?? "")
      try await run("qemu-io", "-f", "raw", "-c", command, access.qemuName(image))
    }
    try await qemu("write -q -P 9 900M 1M")
    boot.generation = 3
    boot.epoch = 1
    boot.base = snapshot
    node.plane.assign(boot)
    try await node.wait("the revert") { node.seen(VolumeID.sample(1))?.epoch == 1 }
    try await qemu("read -q -P 0 900M 1M")
    node.plane.assign(node.document(vm, generation: 5))
    try await node.wait("the second boot") { node.log(vm).contains("boots=2") }

    // A volume that is deleted while its guest runs waits for the guest.
    boot.generation = 4
    boot.deleted = true
    boot.snapshots = []
    node.plane.assign(boot)
    try await node.wait("the reason") { node.seen(VolumeID.sample(1))?.activity?.contains("open") == true }
    node.plane.assign(node.document(vm, generation: 6, deleted: true))
    data.generation = 6
    data.deleted = true
    data.snapshots = []
    node.plane.assign(data)
    try await node.wait("the deletions") {
      both.allSatisfy { node.seen($0)?.state == .absent } && node.seen(vm)?.power == .absent
    }
    let names = try await PrivateCeph.shared().exec("rbd", "ls", access.pool)
    #expect(names.split(separator: "\n").allSatisfy { $0.hasPrefix(RBDName.imagePrefix) }, "\(names)")
    agent.cancel()
    await agent.value
    try await node.libvirt.stop()
  }
}
