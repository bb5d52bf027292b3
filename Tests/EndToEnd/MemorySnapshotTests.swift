import Foundation
import JSON
import LibvirtTestSupport
import TestSupport
import Testing

extension StorageEndToEnd {
  /// What docs/STORAGE.md promises of snapshots with memory, by the command line, with a real guest.
  @Suite(.timeLimit(.minutes(10)))
  struct MemorySnapshotTests {
    @Test("a guest goes on from a snapshot's memory, once: what ran then runs on, and it has not booted")
    func life() async throws {
      let cloud = try await Cloud.start(Cloud.Shape())
      try await cloud.aloft("vm", "create", "web", "--image", "tiny", "--memory", "128M", "--wait")
      try await cloud.aloft("volume", "create", "data", "--size", "1G", "--vm", "web", "--wait")
      try await cloud.aloft("volume", "attach", "data", "web", "--wait")
      let web = try await cloud.guest("web")
      try await web.answers()
      let disk = try await web.disk(try await cloud.serial("data"))
      try await web.run("/usr/sbin/mke2fs -q -t ext4 \(disk) && mount \(disk) /mnt && echo old >/mnt/file && sync")
      try await web.run(Self.count)
      let boot = try await web.run(Self.boot)

      try await cloud.aloft("snapshot", "create", "before", "--vm", "web", "--memory", "--wait")
      let snapshot = try await cloud.get("/v1/snapshots/before")
      let bytes = try #require(snapshot["memory_bytes"]?.intValue)
      #expect(snapshot["memory"]?.boolValue == true && bytes > 10 << 20, "\(snapshot)")
      let file = "\(cloud.folder)/agent/memory/\(snapshot["id"]?.stringValue ?? "")"
      let attributes = try FileManager.default.attributesOfItem(atPath: file)
      #expect(attributes[.size] as? Int == bytes && attributes[.posixPermissions] as? Int == 0o600)
      #expect(try await cloud.differences() == "")

      // It runs on, and what it does from now on is undone.
      let kept = try await web.counted()
      try await eventually("the guest counts on") { try await web.counted() > kept + 100 }
      try await web.run("echo new >/mnt/file && sync")
      let later = try await web.counted()
      #expect(try await web.run(Self.boot) == boot)
      let running = await #expect(throws: CommandFailure.self) {
        try await cloud.aloft("snapshot", "revert", "before", "--memory", "--wait")
      }
      #expect(running?.output.contains("stop that first") == true, "\(running?.output ?? "")")

      try await cloud.aloft("vm", "stop", "web", "--wait")
      let stopped = await #expect(throws: CommandFailure.self) {
        try await cloud.aloft("snapshot", "create", "none", "--vm", "web", "--memory", "--wait")
      }
      #expect(stopped?.output.contains("does not run") == true, "\(stopped?.output ?? "")")
      try await cloud.aloft("snapshot", "revert", "before", "--memory", "--wait")
      #expect(try await cloud.get("/v1/snapshots/before")["memory_pending"]?.boolValue == true)
      let needed = await #expect(throws: CommandFailure.self) { try await cloud.aloft("snapshot", "delete", "before") }
      #expect(needed?.output.contains("goes on from the memory") == true, "\(needed?.output ?? "")")

      try await cloud.aloft("vm", "start", "web", "--wait")
      try await web.answers()
      #expect(try await web.run(Self.boot) == boot, "it has not booted")
      let restored = try await web.counted()
      #expect(restored < later, "it goes on at the instant of the snapshot: \(restored), not \(later)")
      try await eventually("the guest counts on") { try await web.counted() > restored + 20 }
      #expect(try await web.run("echo 3 >/proc/sys/vm/drop_caches; cat /mnt/file") == "old\n")
      try await web.run("echo after >/mnt/file && sync")
      try await eventually("it is not to go on from it again") {
        try await cloud.get("/v1/snapshots/before")["memory_pending"]?.boolValue == false
      }
      #expect(try await cloud.differences() == "")

      // The next start is one.
      try await cloud.aloft("vm", "stop", "web", "--wait")
      try await cloud.aloft("vm", "start", "web", "--wait")
      try await web.answers()
      let again = try await web.run(Self.boot)
      #expect(again != boot)
      #expect(try await web.run("mount \(try await web.disk(cloud.serial("data"))) /mnt && cat /mnt/file") == "after\n")
      try await web.run("umount /mnt")

      try await refusals(cloud, web, file: file, boot: again)

      try await cloud.aloft("snapshot", "delete", "before", "--wait")
      #expect(try FileManager.default.contentsOfDirectory(atPath: "\(cloud.folder)/agent/memory") == [])
      #expect(try await cloud.differences() == "")
      try await cloud.stop()
    }

    /// Memory that does not fit its machine, or does not load, keeps nobody from the volumes.
    private func refusals(_ cloud: Cloud, _ web: GuestShell, file: String, boot: String) async throws {
      try await cloud.aloft("volume", "detach", "data", "--wait")
      try await cloud.aloft("vm", "stop", "web", "--wait")
      let other = await #expect(throws: CommandFailure.self) {
        try await cloud.aloft("snapshot", "revert", "before", "--memory", "--wait")
      }
      #expect(other?.output.contains("it had volume") == true, "\(other?.output ?? "")")
      try await cloud.aloft("volume", "attach", "data", "web", "--wait")
      try await cloud.aloft("snapshot", "revert", "before", "--memory", "--wait")
      let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: file))
      let size = try handle.seekToEnd()
      try handle.seek(toOffset: 20 << 20)
      try handle.write(contentsOf: Data((0..<(4 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 31) }))
      #expect(try handle.seekToEnd() == size)
      try handle.close()
      let damaged = await #expect(throws: CommandFailure.self) { try await cloud.aloft("vm", "start", "web", "--wait") }
      #expect(damaged?.output.contains("memory_unusable") == true, "\(damaged?.output ?? "")")
      try await cloud.aloft("vm", "stop", "web", "--wait")
      try await cloud.aloft("snapshot", "revert", "before", "--wait")
      try await cloud.aloft("vm", "start", "web", "--wait")
      try await web.answers()
      #expect(try await web.run(Self.boot) != boot)
      let disk = try await web.disk(cloud.serial("data"))
      #expect(try await web.run("mount \(disk) /mnt && cat /mnt/file && umount /mnt") == "old\n")
    }

    @Test("whoever dies while memory is written: the snapshot is there or failed, and nothing is left behind")
    func deaths() async throws {
      let cloud = try await Cloud.start(Cloud.Shape())
      try await cloud.aloft("vm", "create", "web", "--image", "tiny", "--memory", "512M", "--wait")
      let web = try await cloud.guest("web")
      try await web.answers()
      // So that writing takes some time.
      try await web.run("mount -o remount,size=400m /tmp && dd if=/dev/urandom of=/tmp/fill bs=1M count=300")
      let id = try #require(try await cloud.get("/v1/vms/web")["id"]?.stringValue)
      let memory = "\(cloud.folder)/agent/memory"

      // The agent and libvirtd, then the guest itself.
      for victim in ["agent", "libvirtd", "guest"] {
        _ = try await cloud.send("POST", "/v1/snapshots", #"{"name":"\#(victim)","vm":"web","memory":true}"#)
        try await eventually("memory of \(victim) is written", within: .seconds(60)) {
          try FileManager.default.contentsOfDirectory(atPath: memory) != []
        }
        switch victim {
        case "agent":
          try await cloud.killAgent()
          try await cloud.startAgent()
        case "libvirtd":
          try await cloud.libvirt.kill9()
          try await cloud.libvirt.restart()
        default:
          let pid = try #require(try cloud.libvirt.guestPid(id))
          kill(pid, SIGKILL)
        }
        try await eventually("\(victim): it is taken or has failed", within: .seconds(120)) {
          let found = try? await cloud.get("/v1/snapshots/\(victim)")
          return found == nil || found?["state"] == "available"
        }
        if (try? await cloud.get("/v1/snapshots/\(victim)")) != nil {
          #expect(try await cloud.get("/v1/snapshots/\(victim)")["memory_bytes"]?.intValue != nil)
          try await cloud.aloft("snapshot", "delete", victim, "--wait")
        }
        try await eventually("\(victim): nothing is left") {
          try FileManager.default.contentsOfDirectory(atPath: memory) == []
        }
        try await eventually("\(victim): the guest runs", within: .seconds(60)) {
          await cloud.state(of: "web") == "running"
        }
      }
      try await eventually("no difference", within: .seconds(60)) { try await cloud.differences() == "" }
      try await cloud.stop()
    }

    private static let boot = "cat /proc/sys/kernel/random/boot_id"
    /// Counts in memory alone, for ever.
    private static let count = """
      (i=0; while :; do i=$((i + 1)); echo $i >/run/new && mv /run/new /run/count; sleep 0.05; done) </dev/null >/dev/null 2>&1 &
      """
  }
}

extension GuestShell {
  fileprivate func counted() async throws -> Int {
    Int(try await run("cat /run/count").trimmingCharacters(in: .whitespacesAndNewlines)) ?? 0
  }
}
