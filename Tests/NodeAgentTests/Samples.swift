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
    power: Power = .running, grace: Int = 30, requests: [Request] = [], image: BaseImage = .sample
  ) -> Assignment {
    Assignment(
      vm: vm, incarnation: incarnation, generation: generation, deleted: deleted, power: power,
      stopGraceSeconds: grace, name: "web <1>", hostname: "web-1", vcpus: 2, memoryMib: 512,
      diskGib: 1,
      accelerator: .any, sshKeys: ["ssh-ed25519 AAAAC3Nza me@here"], userData: "#cloud-config\n",
      image: image,
      requests: requests)
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
