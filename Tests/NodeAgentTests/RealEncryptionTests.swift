import AloftModel
import Foundation
import LibvirtTestSupport
import TestSupport
import Testing

@testable import NodeAgent

@Suite("Encrypted volumes of real guests", .serialized)
struct RealEncryptionTests {
  let vm = VMID.sample(1)

  /// Encrypts a document's volume.
  private func locked(_ document: VolumeAssignment, _ key: VolumeKey) -> VolumeAssignment {
    var document = document
    document.encrypted = true
    document.key = key
    return document
  }

  private func stored(_ number: Int, _ node: RealNode) async throws -> StoredVolume {
    guard case .whole(let stored) = try await node.storage.local.look(.sample(number)) else {
      throw AgentFailure(.storage, "volume \(number) is not whole")
    }
    return stored
  }

  /// The data volume as the guest finds it: by its size, since samples have the same serial number.
  private func disk(_ shell: GuestShell, mib: Int) async throws -> String {
    try await found("the guest has the disk", within: .seconds(60)) {
      let names = try await shell.run("cd /sys/block && grep -lx \(mib << 11) vd?/size | cut -d / -f 1")
      return names.split(separator: "\n").first.map { "/dev/\($0)" }
    }
  }

  private static let pattern = "aloft-pattern-that-is-found"

  @Test(
    "a guest boots from an encrypted disk; another one is plugged in, grown, snapshot, merged and put back; agent and libvirtd may die; no file has a key or what was written"
  )
  func life() async throws {
    let node = try await RealNode(inMemory: true)
    let keys = try (VolumeKey.random(), VolumeKey.random())
    var agent = try await node.start()
    var boot = locked(node.bootVolume(of: vm), keys.0)
    var data = locked(.sample(2, mib: 64), keys.1)
    node.plane.assign(boot)
    node.plane.assign(data)
    node.plane.assign(node.document(vm, generation: 1))
    try await node.wait("ALOFT-READY") { node.log(vm).contains("ALOFT-READY") }
    try await node.wait("a volume without a guest") { node.seen(VolumeID.sample(2))?.state == .ready }
    let shell = GuestShell(domain: vm.description, uri: node.libvirt.uri)
    try await shell.answers()

    // Plugged in by an agent that is new, and a libvirtd that has forgotten every secret.
    agent.cancel()
    await agent.value
    try await node.libvirt.kill9()
    try await node.libvirt.restart()
    agent = try await node.start()
    data.vm = vm
    data.generation = 2
    node.plane.assign(data)
    node.plane.assign(node.document(vm, generation: 2, disks: [.sample(1, boot: 0), .sample(2)]))
    try await node.wait("the second disk") { node.seen(vm)?.disks == [.sample(1), .sample(2)] }
    let device = try await disk(shell, mib: 64)
    try await shell.run("yes \(Self.pattern) | head -c 4000000 | dd of=\(device) bs=1M conv=notrunc && sync")
    let old = try await shell.run("head -c 4000000 \(device) | sha256sum")

    data.sizeBytes = 96 << 20
    data.generation = 3
    node.plane.assign(data)
    try await node.wait("growth") { node.seen(VolumeID.sample(2))?.sizeBytes == 96 << 20 }

    let both = [VolumeID.sample(1), .sample(2)]
    for number in [1, 2] {
      boot.generation += 1
      data.generation += 1
      boot.snapshots.append(.init(id: .sample(number), isTaken: false, volumes: both, quiesce: true))
      data.snapshots = boot.snapshots
      node.plane.assign(boot)
      node.plane.assign(data)
      try await node.wait("snapshot \(number)") { both.allSatisfy { node.seen($0)?.snapshots.count == number } }
      try await shell.run("yes other | head -c 3000000 | dd of=\(device) bs=1M conv=notrunc && sync")
    }

    // The second one goes: its layer is merged under the guest.
    for document in [boot, data] {
      var document = document
      document.generation += 1
      document.snapshots.removeLast()
      node.plane.assign(document)
    }
    boot.generation += 1
    data.generation += 1
    boot.snapshots.removeLast()
    data.snapshots = boot.snapshots
    try await node.wait("the merges under the guest") { FileSystem.names(in: node.data + "/layers").count == 4 }
    #expect(try await shell.run("head -c 4000000 \(device) | sha256sum") != old)
    let clone = locked(
      .sample(3, mib: 96, source: .init(snapshot: .sample(1), of: .sample(2))), keys.1)
    node.plane.assign(clone)
    try await node.wait("the clone") { node.seen(VolumeID.sample(3))?.state == .ready }

    // Off, put back, and started by a libvirtd that has forgotten every secret again.
    node.plane.assign(node.document(vm, generation: 3, power: .stopped, disks: [.sample(1, boot: 0), .sample(2)]))
    try await node.wait("the end") { node.seen(vm)?.power == .stopped }
    data.generation += 1
    data.epoch = 1
    data.base = .sample(1)
    node.plane.assign(data)
    try await node.wait("the revert") { node.seen(VolumeID.sample(2))?.epoch == 1 }
    try await node.libvirt.kill9()
    try await node.libvirt.restart()
    node.plane.assign(node.document(vm, generation: 4, disks: [.sample(1, boot: 0), .sample(2)]))
    try await node.wait("the second boot") { node.log(vm).contains("boots=2") }
    try await shell.answers()
    #expect(try await shell.run("head -c 4000000 \(try await disk(shell, mib: 96)) | sha256sum") == old)

    // Given back while it runs; then the layers of its snapshot are merged at rest.
    data.vm = nil
    data.generation += 1
    node.plane.assign(node.document(vm, generation: 5))
    node.plane.assign(data)
    try await node.wait("the guest to give it back") { node.seen(vm)?.disks == [.sample(1)] }
    var gone = clone
    gone.generation = 2
    gone.deleted = true
    gone.key = nil
    node.plane.assign(gone)
    data.generation += 1
    data.snapshots = []
    node.plane.assign(data)
    try await node.wait("the merges at rest") { node.seen(VolumeID.sample(3))?.state == .absent }
    // While two are being merged it is not whole for who looks from outside.
    _ = try await found("one layer", within: .seconds(60)) {
      (try? await stored(2, node))?.depth == 1 ? true : nil
    }
    let file = try await stored(2, node).source.path.split(separator: "/").last ?? ""
    let name = await node.storage.local.opening(LayerID(String(file.dropLast(6))), with: keys.1)
    let copy = node.libvirt.directory.path + "-copy"
    try await Tool.run(
      "qemu-img", ["convert"] + Tool.secretArguments + ["-O", "raw"] + name + [copy], secret: Array(keys.1.text.utf8))
    #expect(old.hasPrefix(String(try await run("sh", "-c", "head -c 4000000 \(copy) | sha256sum").prefix(64))))
    try FileManager.default.removeItem(atPath: copy)

    // The domain's serial log has what the guest printed; nothing else on the disk has the pattern or a key.
    for text in [keys.0.text, keys.1.text, Self.pattern] {
      await #expect(throws: CommandFailure.self, "found on the disk") {
        try await run("grep", "-rqaF", "--exclude=serial.log", text, node.libvirt.directory.path)
      }
    }
    let masterKeys = "find -L \(node.libvirt.directory.path) -name master-key.aes"
    #expect(try await run("sh", "-c", masterKeys + " | wc -l") == "1\n", "the guest's, and that is in memory")
    #expect(try await run("sh", "-c", masterKeys.replacing("-L ", with: "") + " | wc -l") == "0\n")
    let secrets = try await run("virsh", "--quiet", "--connect", node.libvirt.uri, "secret-list")
    #expect(secrets.split(whereSeparator: \.isWhitespace).isEmpty, "libvirt keeps none: \(secrets)")
    agent.cancel()
    await agent.value
    try await node.libvirt.stop()
  }

  @Test("where libvirt would write what opens keys to the disk, an encrypted volume is made and no guest gets it")
  func onDisk() async throws {
    let node = try await RealNode()
    let agent = try await node.start()
    node.plane.assign(locked(node.bootVolume(of: vm), try VolumeKey.random()))
    node.plane.assign(node.document(vm, generation: 1))
    try await node.wait("the reason") { node.seen(vm)?.problem?.code == .volumeLocked }
    #expect(node.seen(vm)?.problem?.detail.contains("--libvirt-state") == true)
    #expect(node.seen(VolumeID.sample(1))?.state == .ready)
    agent.cancel()
    await agent.value
    try await node.libvirt.stop()
  }

  @Test("an encrypted volume that QEMU has open, and libvirt has forgotten since it died, can be had again")
  func remains() async throws {
    let node = try await RealNode(inMemory: true)
    let key = try VolumeKey.random()
    let agent = try await node.start()
    var data = locked(.sample(2, mib: 64), key)
    node.plane.assign(node.bootVolume(of: vm))
    node.plane.assign(data)
    node.plane.assign(node.document(vm, generation: 1))
    try await node.wait("the guest") { node.seen(vm)?.power == .running }
    try await node.wait("a volume without a guest") { node.seen(VolumeID.sample(2))?.state == .ready }

    // The secrets of all names that libvirt may give next.
    for number in 1...9 {
      let object = #"{"qom-type": "secret", "id": "libvirt-\#(number)-format-encryption-secret0", "data": "x"}"#
      _ = try await run(
        "virsh", "--quiet", "--connect", node.libvirt.uri, "qemu-monitor-command", vm.description,
        #"{"execute": "object-add", "arguments": \#(object)}"#)
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
}
