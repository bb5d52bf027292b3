import Foundation
import LibvirtTestSupport
import TestSupport
import Testing

extension StorageEndToEnd {
  /// A node whose disk is really full: the agent's directory is a small file system of its own.
  @Suite(
    .timeLimit(.minutes(5)),
    .enabled("this process may not mount file systems") { await TemporaryFileSystem.isPermitted() })
  struct FullDiskTests {
    @Test("a full disk is told of and hurts nobody else; deleting works, and when there is room all goes on by itself")
    func fullDisk() async throws {
      var shape = Cloud.Shape()
      shape.nodeDiskMiB = 160
      let cloud = try await Cloud.start(shape)
      let disk = try #require(cloud.disk)
      func make(_ name: String) async throws {
        _ = try await cloud.send("POST", "/v1/vms", #"{"name": "\#(name)", "image": "tiny", "memory_mib": 128}"#)
      }
      for name in ["first", "doomed"] { try await make(name) }
      for name in ["first", "doomed"] { try await cloud.waitForSerial(name, "ALOFT-READY") }
      let first = try #require(try await cloud.get("/v1/vms/first")["id"]?.stringValue)
      let pid = try #require(try cloud.libvirt.guestPid(first))

      try disk.fill()
      try await make("second")
      try await make("third")
      for name in ["second", "third"] {
        try await eventually("\(name) says why it is not made", within: .seconds(60)) {
          let vm = try await cloud.get("/v1/vms/\(name)")
          let reason = vm["reason"]?.stringValue ?? ""
          return vm["state"]?.stringValue == "failed" && reason.contains("No space left on device")
        }
      }
      let waiting = try await cloud.get("/v1/operations?status=running")
      #expect(waiting["items"]?[0]?["waiting_for"]?.stringValue?.contains("No space left") == true, "\(waiting)")
      #expect(processRuns(pid))
      #expect(await cloud.state(of: "first") == "running")

      // What the agent must write down to ask a guest to shut down has its place reserved.
      let stopped = try await cloud.send("POST", "/v1/vms/first/stop", "{}", headers: ["Prefer: wait=60"])
      #expect(stopped["state"]?.stringValue == "stopped" && stopped["reason"]?.stringValue == nil, "\(stopped)")

      func delete(_ name: String) async throws {
        let deleted = try await cloud.send("DELETE", "/v1/vms/\(name)", "", headers: ["Prefer: wait=60"])
        #expect(deleted["operation"]?["status"]?.stringValue == "succeeded", "\(deleted)")
      }
      // One that was never made, and one that runs and whose disk is the first that makes room.
      try await delete("second")
      #expect(await cloud.state(of: "third") == "failed")
      try await delete("doomed")
      disk.free()
      try await eventually("the third runs", within: .seconds(90)) { await cloud.state(of: "third") == "running" }
      try await cloud.waitForSerial("third", "ALOFT-READY")
      #expect(try await cloud.get("/v1/vms/third")["reason"]?.stringValue == nil)
      let started = try await cloud.send("POST", "/v1/vms/first/start", "{}", headers: ["Prefer: wait=60"])
      #expect(started["state"]?.stringValue == "running", "\(started)")
      #expect(try await cloud.differences() == "")
      try await cloud.stop()
    }
  }
}
