import AloftModel
import Foundation
import JSON
import LibvirtTestSupport
import TestSupport
import Testing

@testable import NodeAgent

@Suite("Guests that are on layers which libvirt does not know of", .serialized)
struct RealAheadTests {
  let vm = VMID.sample(1)
  let volume = VolumeID.sample(2)
  let snapshot = SnapshotID.sample(1)

  /// One agent's death more: behind going back, and before the layer that was left is empty.
  @Test(
    "a libvirtd that dies behind a guest's going over keeps nobody from taking the snapshot, and nothing written is lost",
    arguments: [false, true])
  func ahead(diesAgain: Bool) async throws {
    let node = try await RealNode()
    var agent = try await node.start()
    var data = try await guest(node)
    agent.cancel()
    await agent.value
    let leaf = try await goAhead(node)
    if diesAgain {
      let hypervisor = LibvirtHypervisor(uri: node.libvirt.uri, logger: quietLogger)
      let disk = try #require(try await hypervisor.disks(of: vm).first { $0.volume == volume })
      #expect(try await hypervisor.isAhead(disk, of: vm, on: .file(leaf)))
      for _ in 0..<2 { try await hypervisor.bringDown(disk, of: vm) }
      try await hypervisor.suspend(vm)
      try await hypervisor.goBack(disk, of: vm)
      #expect(try await !hypervisor.isAhead(disk, of: vm, on: .file(leaf)))
    }

    agent = try await node.start()
    if diesAgain {
      node.plane.assign(node.document(vm, generation: 2, disks: [.sample(1, boot: 0), .sample(2, bus: .scsi)]))
      try await node.wait("the guest to go on") { node.seen(vm)?.generation == 2 && node.seen(vm)?.power == .running }
      try await io(node, "write -P 6 0 1M", "write -P 4 8M 1M", "flush")
    }
    data.generation = 2
    data.snapshots = [VolumeAssignment.Snapshot(id: snapshot, isTaken: false, volumes: [volume], quiesce: false)]
    node.plane.assign(data)
    try await node.wait("the snapshot") { node.seen(volume)?.snapshots.map(\.id) == [snapshot] }
    try await io(node, "write -P 7 0 1M", "flush")
    node.plane.assign(node.document(vm, generation: 3, power: .stopped, grace: 0))
    try await node.wait("the end") { node.seen(vm)?.power == .stopped }

    let stored = try await node.stored(volume)
    let old = try #require(stored.below).path
    try await run("qemu-io", "-r", "-f", "qcow2", "-c", "read -P 6 0 1M", old)
    try await run("qemu-io", "-r", "-f", "qcow2", "-c", "read -P 7 0 1M", stored.source.path)
    if diesAgain { try await run("qemu-io", "-r", "-f", "qcow2", "-c", "read -P 4 8M 1M", stored.source.path) }
    #expect(FileSystem.names(in: node.data + "/layers").count { $0.hasSuffix(".qcow2") } == 3, "no layer is left over")
    agent.cancel()
    await agent.value
    try await node.libvirt.stop()
  }

  @Test("a guest that libvirt has just taken to another layer counts neither as below nor as ahead")
  func justGone() async throws {
    let node = try await RealNode()
    let agent = try await node.start()
    var data = try await guest(node)
    let hypervisor = LibvirtHypervisor(uri: node.libvirt.uri, logger: quietLogger)
    let before = try #require(try await hypervisor.disks(of: vm).first { $0.volume == volume })
    data.generation = 2
    data.snapshots = [VolumeAssignment.Snapshot(id: snapshot, isTaken: false, volumes: [volume], quiesce: false)]
    node.plane.assign(data)
    try await node.wait("the snapshot") { node.seen(volume)?.snapshots.map(\.id) == [snapshot] }
    let leaf = try await node.stored(volume).source
    let failure = await #expect(throws: AgentFailure.self) {
      try await hypervisor.isAhead(before, of: vm, on: leaf)
    }
    #expect(failure?.kind == .changedMeanwhile)
    agent.cancel()
    await agent.value
    try await node.libvirt.stop()
  }

  @Test("a volume whose guest is on such a layer is given back with all that was written")
  func detached() async throws {
    let node = try await RealNode()
    var agent = try await node.start()
    var data = try await guest(node)
    try await node.wait("the guest's drivers") { node.log(vm).contains("ALOFT-READY") }
    agent.cancel()
    await agent.value
    _ = try await goAhead(node)
    agent = try await node.start()
    data.vm = nil
    data.generation = 2
    node.plane.assign(data)
    node.plane.assign(node.document(vm, generation: 2))
    try await node.wait("the volume") { node.seen(vm)?.disks == [.sample(1)] }
    agent.cancel()
    await agent.value
    // libvirt tells that a disk has gone, and closes its files then; layers may be merged meanwhile.
    try await eventually("the volume can be had, with what the guest wrote", within: .seconds(60)) {
      let leaf = try await node.stored(volume).source.path
      return (try? await run("qemu-io", "-f", "qcow2", "-c", "read -P 6 0 1M", "-c", "write 32M 1M", leaf)) != nil
    }
    try await node.libvirt.stop()
  }

  /// A guest that runs and has written 5 to the volume.
  private func guest(_ node: RealNode) async throws -> VolumeAssignment {
    let data = VolumeAssignment.sample(2, mib: 64, vm: vm)
    node.plane.assign(node.bootVolume(of: vm))
    node.plane.assign(data)
    node.plane.assign(node.document(vm, generation: 1, disks: [.sample(1, boot: 0), .sample(2, bus: .scsi)]))
    try await node.wait("the guest") { node.seen(vm)?.power == .running && node.seen(vm)?.disks.count == 2 }
    try await io(node, "write -P 5 0 1M", "flush")
    return data
  }

  /// What libvirtd has had QEMU do when it dies before it has written that down; then the guest writes 6 to the layer that is returned.
  private func goAhead(_ node: RealNode) async throws -> String {
    let below = try await top(node)
    let leaf = try await node.storage.local.beginSnapshot(snapshot, of: volume).path
    try await monitor(
      node, "blockdev-add",
      #"{"driver": "file", "filename": "\#(leaf)", "node-name": "libvirt-90-storage", "auto-read-only": true, "discard": "unmap"}"#
    )
    try await monitor(
      node, "blockdev-add",
      #"{"driver": "qcow2", "node-name": "libvirt-90-format", "file": "libvirt-90-storage", "backing": null}"#)
    try await monitor(node, "blockdev-snapshot", #"{"node": "\#(below)", "overlay": "libvirt-90-format"}"#)
    try await node.libvirt.kill9()
    try await node.libvirt.restart()
    try await io(node, "write -P 6 0 1M", "flush")
    return leaf
  }

  /// QEMU's name for what it writes to for the volume.
  private func top(_ node: RealNode) async throws -> String {
    let alias = DiskSpecification.alias(of: volume)
    let devices = try await monitor(node, "query-block", "{}").arrayValue ?? []
    let device = devices.first { $0["qdev"]?.stringValue?.contains(alias) == true }
    return try #require(device?["inserted"]?["node-name"]?.stringValue)
  }

  @discardableResult
  private func monitor(_ node: RealNode, _ command: String, _ arguments: String) async throws -> JSONValue {
    let answer = try JSONValue.parse(
      try await run(
        "virsh", "--quiet", "--connect", node.libvirt.uri, "qemu-monitor-command", vm.description,
        #"{"execute": "\#(command)", "arguments": \#(arguments)}"#))
    return try #require(answer["return"], "\(answer)")
  }

  private func io(_ node: RealNode, _ commands: String...) async throws {
    for command in commands {
      try await run(
        "virsh", "--quiet", "--connect", node.libvirt.uri, "qemu-monitor-command", vm.description, "--hmp",
        "qemu-io -d \(DiskSpecification.alias(of: volume)) \"\(command)\"")
    }
  }
}
