import AloftModel
import Foundation
import Logging
import NodeAgent
import TestSupport

extension VMID {
  static func sample(_ number: Int) -> VMID {
    VMID(UUID.v7(milliseconds: 1_800_000_000_000, random: (0, UInt64(number))))
  }
}

extension Assignment {
  static func sample(
    _ vm: VMID = .sample(1), incarnation: Int = 2, generation: Int = 5, deleted: Bool = false,
    power: Power = .running, grace: Int = 30, requests: [Request] = [], disks: [Disk] = []
  ) -> Assignment {
    Assignment(
      vm: vm, incarnation: incarnation, generation: generation, deleted: deleted, power: power,
      stopGraceSeconds: grace, name: "web <1>", hostname: "web-1", vcpus: 2, memoryMib: 512,
      accelerator: .any, sshKeys: ["ssh-ed25519 AAAAC3Nza me@here"], userData: "#cloud-config\n",
      disks: disks, requests: requests)
  }
}

extension VolumeID {
  static func sample(_ number: Int) -> VolumeID { VolumeID(UUID.v7(milliseconds: 5, random: (5, UInt64(number)))) }
}

extension SnapshotID {
  static func sample(_ number: Int) -> SnapshotID {
    SnapshotID(UUID.v7(milliseconds: 6, random: (6, UInt64(number))))
  }
}

extension VolumeAssignment {
  static func sample(
    _ number: Int = 1, generation: Int = 1, deleted: Bool = false, mib: Int = 1024, source: Source? = nil,
    vm: VMID? = nil, snapshots: [Snapshot] = [], epoch: Int = 0, base: SnapshotID? = nil
  ) -> VolumeAssignment {
    VolumeAssignment(
      volume: .sample(number), generation: generation, deleted: deleted, pool: "local", sizeBytes: mib << 20,
      source: source, vm: vm, snapshots: snapshots, epoch: epoch, base: base)
  }
}

extension VolumeAssignment.Snapshot {
  static func sample(
    _ number: Int, taken: Bool = false, of volumes: [VolumeID] = [.sample(1)], quiesce: Bool = false
  ) -> VolumeAssignment.Snapshot {
    VolumeAssignment.Snapshot(id: .sample(number), isTaken: taken, volumes: volumes, quiesce: quiesce)
  }
}

extension Assignment.Disk {
  static func sample(
    _ number: Int, bus: DiskBus = .virtio, boot: Int? = nil, limits: IOLimits? = nil
  ) -> Assignment.Disk {
    Assignment.Disk(volume: .sample(number), bus: bus, bootIndex: boot, limits: limits)
  }
}

extension Assignment.BaseImage {
  static let sample = Assignment.BaseImage(
    id: ImageID(UUID.v7(milliseconds: 1, random: (1, 1))),
    sha256: String(repeating: "a", count: 64), format: .raw,
    sizeBytes: 1 << 20)
}

extension Assignment.Request {
  static func sample(_ number: Int, _ kind: Kind = .reboot) -> Assignment.Request {
    Assignment.Request(
      id: VMRequestID(UUID.v7(milliseconds: 2, random: (2, UInt64(number)))), kind: kind)
  }
}

let quietLogger = TestLogs.logger("node-agent")

/// A directory that goes away with the test.
final class TemporaryDirectory: Sendable {
  let path: String

  init() throws {
    path = NSTemporaryDirectory() + "aloft-agent-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}
