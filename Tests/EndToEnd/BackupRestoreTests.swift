import CephTestSupport
import Foundation
import JSON
import TestSupport
import Testing

extension StorageEndToEnd {
  /// Where backups can be restored to, and what becomes of volumes when something of a backup is lost.
  @Suite(.timeLimit(.minutes(12)))
  struct BackupRestoreTests {
    @Test("a backup is restored over a volume and into other pools; a damaged one changes nothing")
    func folder() async throws { try await restores(in: try await BackupScene.inDirectories()) }

    @Test(
      "so it is from and into Ceph", .enabled(if: PrivateCeph.isInstalled, "\(PrivateCeph.missing)"))
    func ceph() async throws { try await restores(in: try await BackupScene.inCeph()) }

    private func restores(in scene: BackupScene) async throws {
      let cloud = scene.cloud
      var sums: [String: String] = [:]
      for (volume, pool) in [("data", "fast"), ("plain", "local")] {
        try await scene.make(volume, in: pool)
        try await scene.fill(volume, at: "300M", mebibytes: 8)
        try await cloud.aloft("backup", "create", "of-\(volume)", "--volume", volume, "--wait")
        sums[volume] = try await scene.sum(of: volume)
      }

      // From each pool into the other one, as a new volume and over one.
      for (volume, other) in [("data", "local"), ("plain", "fast")] {
        try await cloud.aloft("backup", "restore", "of-\(volume)", "--as", "new-\(volume)", "--pool", other, "--wait")
        #expect(try await scene.sum(of: "new-\(volume)") == sums[volume], "\(volume) in \(other)")
      }
      try await cloud.aloft("backup", "restore", "of-plain", "--over", "data", "--wait")
      #expect(try await scene.sum(of: "data") == sums["plain"])

      // Put back that way it is another volume to read: all of it is, and nothing is sent twice.
      try await cloud.aloft("backup", "create", "again", "--volume", "data", "--wait")
      let again = try await cloud.get("/v1/backups/again")
      #expect(again["kind"]?.stringValue == "full" && again["stored_bytes"]?.intValue == 8 << 20, "\(again)")
      try await cloud.aloft("backup", "restore", "of-data", "--over", "data", "--wait")
      #expect(try await scene.sum(of: "data") == sums["data"])

      // The backup that another one follows goes; that one is whole.
      try await scene.fill("data", at: "400M", mebibytes: 8)
      try await cloud.aloft("backup", "create", "last", "--volume", "data", "--wait")
      sums["last"] = try await scene.sum(of: "data")
      try await cloud.aloft("backup", "delete", "of-data", "again")
      try await cloud.aloft("backup", "verify", "last", "--wait")

      // Something of it is lost: nothing is replaced, and nothing is left of what was begun.
      let lost = try await scene.loseChunk(of: "last")
      await #expect(throws: CommandFailure.self) {
        try await cloud.aloft("backup", "restore", "last", "--over", "new-plain", "--wait")
      }
      #expect(try await scene.sum(of: "new-plain") == sums["plain"])
      await #expect(throws: CommandFailure.self) {
        try await cloud.aloft("backup", "restore", "last", "--as", "half", "--pool", "fast", "--wait")
      }
      try await eventually("nothing is left of the new volume", within: .seconds(60)) {
        try await cloud.get("/v1/volumes")["items"]?.arrayValue?.contains { $0["name"]?.stringValue == "half" } == false
      }
      // It is in use as before.
      try await cloud.aloft("volume", "attach", "new-plain", "web", "--bus", "scsi", "--wait")
      try await cloud.aloft("volume", "detach", "new-plain", "--wait")
      #expect(try await cloud.differences().contains("missing"))
      try FileManager.default.moveItem(atPath: lost.aside, toPath: lost.path)
      try await cloud.aloft("backup", "restore", "last", "--over", "new-plain", "--wait")
      #expect(try await scene.sum(of: "new-plain") == sums["last"])

      try await cloud.aloft("backup", "delete", "of-plain", "last")
      try await cloud.aloft("volume", "delete", "data", "plain", "new-data", "new-plain", "--wait")
      try await scene.stop()
    }
  }
}
