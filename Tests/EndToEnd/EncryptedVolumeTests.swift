import AloftModel
import ControlPlane
import Foundation
import JSON
import LibvirtTestSupport
import Postgres
import TestSupport
import Testing

extension StorageEndToEnd {
  /// What docs/STORAGE.md promises of encrypted volumes, by the command line, with a real guest.
  @Suite(.timeLimit(.minutes(8)))
  struct EncryptedVolumeTests {
    private static let pattern = "aloft-pattern-that-is-found"

    @Test(
      "an encrypted volume is used, kept, cloned, put back and backed up over deaths of agent and libvirtd; nothing at rest tells of it"
    )
    func life() async throws {
      let cloud = try await Cloud.start(Cloud.Shape(pools: ["fast"], keepsSecretsInMemory: true))
      try await cloud.aloft("pool", "create", "fast", "--kind", "dir")
      _ = try await cloud.aloft(
        "vm", "create", "web", "--image", "tiny", "--memory", "128M", "--disk-encrypted", "--wait")
      try await cloud.aloft("volume", "create", "data", "--size", "1G", "--encrypted", "--vm", "web", "--wait")
      try await cloud.aloft("volume", "create", "bare", "--size", "2G", "--wait")
      #expect(try await cloud.get("/v1/volumes/data")["encrypted"]?.boolValue == true)
      #expect(try await cloud.get("/v1/volumes/web-boot")["encrypted"]?.boolValue == true)
      let web = try await cloud.guest("web")
      try await web.answers()

      // The one that starts has no key, and asks for it; libvirtd has forgotten all secrets.
      try await cloud.killAgent()
      try await cloud.libvirt.kill9()
      try await cloud.libvirt.restart()
      try await cloud.startAgent()
      try await cloud.aloft("volume", "attach", "data", "web", "--wait")
      var disk = try await web.disk(try await cloud.serial("data"))
      let write = "yes \(Self.pattern) | head -c 8000000 >/mnt/file && sync && sha256sum /mnt/file"
      let old = try await web.run("/usr/sbin/mke2fs -q -t ext4 \(disk) && mount \(disk) /mnt && \(write)")
      try await cloud.aloft("snapshot", "create", "before", "--volume", "data", "--wait")
      try await web.run("yes other | head -c 8000000 >/mnt/file && sync")
      try await cloud.aloft("volume", "grow", "data", "2G", "--wait")
      #expect(try await web.run("blockdev --getsize64 \(disk)") == "\(2 << 30)\n")

      // Both die while a snapshot is taken: it is taken, or withdrawn.
      let taking = Task { try? await cloud.aloft("snapshot", "create", "cut", "--volume", "data", "--wait") }
      try await cloud.killAgent()
      try await cloud.libvirt.kill9()
      try await cloud.libvirt.restart()
      try await cloud.startAgent()
      _ = await taking.value
      try await cloud.aloft("snapshot", "delete", "cut", "--wait")

      try await cloud.aloft("volume", "create", "copy", "--snapshot", "before", "--of", "data", "--wait")
      #expect(try await cloud.get("/v1/volumes/copy")["encrypted"]?.boolValue == true)
      try await cloud.aloft("volume", "attach", "copy", "web", "--wait")
      let copy = try await web.disk(try await cloud.serial("copy"))
      #expect(try await web.run("umount /mnt; mount \(copy) /mnt && sha256sum /mnt/file && umount /mnt") == old)
      try await cloud.aloft("volume", "detach", "copy", "--wait")

      try await cloud.aloft("vm", "stop", "web", "--wait")
      try await cloud.aloft("snapshot", "revert", "before", "--wait")
      try await cloud.libvirt.kill9()
      try await cloud.libvirt.restart()
      try await cloud.aloft("vm", "start", "web", "--wait")
      try await web.answers()
      disk = try await web.disk(try await cloud.serial("data"))
      #expect(try await web.run("mount \(disk) /mnt && sha256sum /mnt/file && umount /mnt") == old)

      // Its backups, of all of it and of what was written since, are noise to who has the image store.
      try await cloud.aloft("backup", "create", "first", "--volume", "data", "--wait")
      let adding = "yes new-\(Self.pattern) | head -c 4000000 >/mnt/more && sync && sha256sum /mnt/more && umount /mnt"
      let added = try await web.run("mount \(disk) /mnt && \(adding)")
      try await cloud.aloft("backup", "create", "second", "--volume", "data", "--wait")
      let second = try await cloud.get("/v1/backups/second")
      #expect(second["encrypted"]?.boolValue == true && second["kind"]?.stringValue == "incremental", "\(second)")
      try await cloud.aloft("backup", "verify", "first", "second", "--wait")
      #expect(try FileManager.default.subpathsOfDirectory(atPath: cloud.folder + "/images/backups").count > 8)
      for (volume, why) in [("bare", "is not encrypted"), ("web-boot", "has another key")] {
        await #expect {
          try await cloud.aloft("backup", "restore", "second", "--over", volume, "--wait")
        } throws: {
          ($0 as? CommandFailure)?.output.contains(why) == true
        }
      }

      let keys = try await cloud.volumeKeys()
      #expect(keys.count == 3 && Set(keys).count == 2, "the clone has its original's")
      for text in keys.map(\.text) + [Self.pattern] {
        await #expect(throws: CommandFailure.self, "found on the disk") {
          try await run("grep", "-rqaF", text, cloud.folder + "/agent", "--exclude=serial.log")
        }
        await #expect(throws: CommandFailure.self, "found in the image store") {
          try await run("grep", "-rqaF", text, cloud.folder + "/images/backups")
        }
        await #expect(throws: CommandFailure.self, "found in what libvirt keeps") {
          try await run("grep", "-rqaF", text, cloud.libvirt.directory.path)
        }
      }
      #expect(try await cloud.aloftd("sealing-key", "reseal").hasPrefix("0 sealed anew, 0 cannot be read"))
      #expect(try await cloud.differences() == "")

      try await cloud.aloft("snapshot", "delete", "before", "--wait")

      // To another directory, under the guest and at rest.
      try await cloud.aloft("volume", "move", "data", "--pool", "fast", "--wait")
      #expect(try await web.run("mount \(disk) /mnt && sha256sum /mnt/file && umount /mnt") == old)
      try await cloud.aloft("volume", "move", "copy", "--pool", "fast", "--wait")
      try await cloud.aloft("volume", "attach", "copy", "web", "--wait")
      let moved = try await web.disk(try await cloud.serial("copy"))
      #expect(try await web.run("mount \(moved) /mnt && sha256sum /mnt/file && umount /mnt") == old)
      try await cloud.aloft("volume", "detach", "copy", "--wait")
      for text in keys.map(\.text) + [Self.pattern] {
        await #expect(throws: CommandFailure.self, "found in the other pool") {
          try await run("grep", "-rqaF", text, cloud.folder + "/fast")
        }
      }

      // Nothing has its key any more but its backups.
      try await cloud.aloft("volume", "detach", "data", "--wait")
      try await cloud.aloft("volume", "delete", "data", "copy", "--wait")
      try await cloud.aloft("backup", "delete", "first")
      try await cloud.aloft("backup", "restore", "second", "--as", "again", "--pool", "fast", "--wait")
      #expect(try await cloud.get("/v1/volumes/again")["encrypted"]?.boolValue == true)
      try await cloud.aloft("volume", "attach", "again", "web", "--wait")
      let again = try await web.disk(try await cloud.serial("again"))
      let sums = try await web.run("mount \(again) /mnt && sha256sum /mnt/file /mnt/more && umount /mnt")
      #expect(sums == old + added)
      try await cloud.aloft("volume", "detach", "again", "--wait")
      for text in keys.map(\.text) + [Self.pattern] {
        await #expect(throws: CommandFailure.self, "found in the pool") {
          try await run("grep", "-rqaF", text, cloud.folder + "/fast")
        }
      }
      try await cloud.aloft("backup", "delete", "second")
      try await eventually("nothing is left in the store", within: .seconds(60)) {
        !FileManager.default.fileExists(atPath: cloud.folder + "/images/backups")
      }
      try await cloud.aloft("vm", "stop", "web", "--wait")
      try await cloud.aloft("volume", "delete", "again", "bare", "--wait")
      try await cloud.aloft("vm", "delete", "web", "--wait")
      for folder in ["agent/layers", "agent/volumes", "fast/layers", "fast/volumes"] {
        #expect(try FileManager.default.contentsOfDirectory(atPath: "\(cloud.folder)/\(folder)") == [])
      }
      #expect(try await cloud.differences() == "")
      try await cloud.stop()
    }
  }
}

extension Cloud {
  /// The keys of all encrypted volumes, which must not come to a log.
  fileprivate func volumeKeys() async throws -> [VolumeKey] {
    let sealing = try SealingKey(file: folder + "/sealing.key")
    let database = try Database(
      configuration: DatabaseConfiguration(url: databaseURL, poolSize: 1), logger: TestLogs.logger())
    let rows = try await database.query("SELECT id, sealed_key FROM volumes WHERE encrypted")
    await database.shutdown()
    return try rows.map { row in
      let id = VolumeID(try row.get(0, as: UUID.self))
      let sealed = try row.get(1, as: [UInt8].self)
      let bytes = try sealing.open(sealed, for: .volumeKey, of: id.description)
      let key = try #require(VolumeKey(bytes))
      TestSecrets.register(key.text)
      return key
    }
  }
}
