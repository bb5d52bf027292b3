import CephTestSupport
import Foundation
import JSON
import TestSupport
import Testing

extension StorageEndToEnd {
  /// What docs/STORAGE.md promises of backups, by the command line, with a real QEMU that writes.
  @Suite(.timeLimit(.minutes(12)))
  struct BackupTests {
    @Test("what was backed up comes back bit by bit, though the agent is killed meanwhile")
    func folder() async throws { try await life(in: try await BackupScene.inDirectories()) }

    @Test(
      "what was backed up of volumes in Ceph does too",
      .enabled(if: PrivateCeph.isInstalled, "\(PrivateCeph.missing)"))
    func ceph() async throws { try await life(in: try await BackupScene.inCeph()) }

    private func life(in scene: BackupScene) async throws {
      let cloud = scene.cloud
      try await scene.make("data")
      try await cloud.aloft("volume", "attach", "data", "web", "--bus", "scsi", "--wait")

      // While its guest runs: all of it first, then only what was written since.
      try await scene.write("write -P 1 0 1M", "write -P 2 100M 8M", "write -P 3 900M 1M", to: "data")
      try await cloud.aloft("backup", "create", "one", "--volume", "data", "--wait")
      var sums = ["one": try await scene.sum(of: "data")]
      let one = try await cloud.get("/v1/backups/one")
      #expect(one["kind"]?.stringValue == "full" && one["read_bytes"]?.intValue == 10 << 20, "\(one)")
      #expect(one["stored_bytes"]?.intValue == 3 << 20, "equal parts are kept once: \(one)")
      try await scene.write("write -P 4 100M 64k", "write -z 900M 1M", to: "data")
      try await cloud.aloft("backup", "create", "two", "--volume", "data", "--wait")
      sums["two"] = try await scene.sum(of: "data")
      let two = try await cloud.get("/v1/backups/two")
      // Zeros need not be read where the pool knows of them.
      #expect(two["kind"]?.stringValue == "incremental", "\(two)")
      #expect([1 << 20, 2 << 20].contains(two["read_bytes"]?.intValue), "\(two)")
      #expect(two["stored_bytes"]?.intValue == 1 << 20, "\(two)")

      // The agent is killed in the middle, and goes on.
      try await cloud.aloft("volume", "detach", "data", "--wait")
      try await scene.fill("data", at: "200M", mebibytes: 96)
      sums["three"] = try await scene.sum(of: "data")
      try await cloud.aloft("backup", "create", "three", "--volume", "data")
      try await scene.killAgent(when: "the backup is being sent") {
        try await cloud.get("/v1/backups/three")["stored_bytes"]?.intValue ?? 0 > 4 << 20
      }
      try await eventually("the backup is made", within: .seconds(120)) {
        try await cloud.get("/v1/backups/three")["state"]?.stringValue == "available"
      }
      let three = try await cloud.get("/v1/backups/three")
      #expect(three["kind"]?.stringValue == "incremental" && three["stored_bytes"]?.intValue == 96 << 20, "\(three)")
      #expect(three["read_bytes"]?.intValue == 96 << 20, "\(three)")
      #expect(try await cloud.differences() == "")

      // The volume is gone; each is restored from what is left, in the middle of one of them the agent is killed.
      try await cloud.aloft("volume", "delete", "data", "--wait")
      try await scene.make("new3")
      async let asked = cloud.aloft("backup", "restore", "three", "--over", "new3")
      try await scene.killAgent(when: "the volume is being restored") { try await scene.isRestoring("new3") }
      _ = try await asked
      try await eventually("the volume is restored", within: .seconds(120)) {
        try await cloud.get("/v1/volumes/new3")["operation"] == .null
      }
      #expect(try await scene.sum(of: "new3") == sums["three"])
      for (name, volume) in [("one", "new1"), ("two", "new2")] {
        try await cloud.aloft("backup", "restore", name, "--as", volume, "--pool", "fast", "--wait")
        #expect(try await scene.sum(of: volume) == sums[name], "\(name)")
      }
      try await cloud.aloft("backup", "verify", "one", "two", "three", "--wait")
      try await cloud.aloft("backup", "delete", "one", "two", "three")
      try await cloud.aloft("volume", "delete", "new1", "new2", "new3", "--wait")
      try await scene.stop()
    }
  }
}
