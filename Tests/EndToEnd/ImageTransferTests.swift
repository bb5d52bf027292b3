import Foundation
import JSON
import TestSupport
import Testing

extension StorageEndToEnd {
  /// Images on their way into the cloud and out of it.
  @Suite(.timeLimit(.minutes(5)))
  struct ImageTransferTests {
    /// A raw disk in which no part is like another.
    private func makeDisk(_ cloud: Cloud, mebibytes: Int) async throws -> (path: String, sha256: String) {
      let path = cloud.folder + "/disk.raw"
      try await run("bash", "-c", "head -c \(mebibytes)M /dev/urandom > \(path)")
      return (path, String(try await run("sha256sum", path).prefix(64)))
    }

    @Test(
      "an image of a volume that a guest writes to, made while agent and replica are killed, has what the volume had")
    func captured() async throws {
      let cloud = try await Cloud.start()
      let disk = try await makeDisk(cloud, mebibytes: 256)
      try await cloud.aloft("image", "upload", "big", disk.path)
      try await cloud.aloft("vm", "create", "web", "--image", "tiny", "--memory", "128M", "--wait")
      try await cloud.aloft("volume", "create", "data", "--image", "big", "--vm", "web", "--wait")
      try await cloud.aloft("volume", "attach", "data", "web", "--wait")
      let web = try await cloud.guest("web")
      try await web.answers()
      let path = try await web.disk(try await cloud.serial("data"))
      _ = try await web.run("dd if=/dev/zero of=\(path) bs=1M count=3 conv=fsync && sync")

      let made = try await cloud.send(
        "POST", "/v1/images", #"{"name": "copy", "source": {"volume": "data"}}"#)
      let operation = try #require(made["operation"]?["id"]?.stringValue, "\(made)")
      // A quick machine is through before anybody has looked.
      try await eventually("it is under way", within: .seconds(60)) {
        let now = try await cloud.get("/v1/operations/\(operation)")
        return now["progress"]?.intValue ?? 0 > 0 || now["status"] == "succeeded"
      }
      try await cloud.killAgent()
      try await cloud.startAgent()
      try await eventually("some of it is kept", within: .seconds(90)) {
        try await cloud.get("/v1/images/copy")["stored_bytes"]?.intValue ?? 0 > 0
      }
      try await cloud.killReplica(0)
      try await cloud.startReplica(0)
      try await eventually("the image is ready", within: .seconds(120)) {
        (try? await cloud.get("/v1/images/copy"))?["state"] == "ready"
      }
      #expect(try await cloud.get("/v1/operations/\(operation)")["status"] == "succeeded")
      try await cloud.aloft("image", "download", "copy", cloud.folder + "/copy.qcow2")
      try await run("qemu-img", "convert", "-O", "raw", cloud.folder + "/copy.qcow2", cloud.folder + "/copy.raw")
      try await run("bash", "-c", "head -c 3M /dev/zero | dd of=\(disk.path) conv=notrunc bs=1M status=none")
      try await run("cmp", "-n", "\(256 << 20)", disk.path, cloud.folder + "/copy.raw")
      // What was kept for it goes, in the guest that runs too.
      try await eventually("nothing is left over", within: .seconds(90)) {
        let exports = try FileManager.default.contentsOfDirectory(atPath: cloud.folder + "/agent/exports")
        let differences = try await cloud.differences()
        return exports.isEmpty && differences == ""
      }
      try await cloud.aloft("vm", "stop", "web", "--wait")
      try await cloud.stop()
    }

    @Test("an upload whose replica is killed goes on by itself where it was, and a download gives the same bytes")
    func killed() async throws {
      let cloud = try await Cloud.start()
      let disk = try await makeDisk(cloud, mebibytes: 384)
      async let uploading = cloud.aloft("image", "upload", "big", disk.path, "-o", "json")
      var kept = 0
      try await eventually("some of it is kept", within: .seconds(60)) {
        kept = (try? await cloud.get("/v1/images/big"))?["stored_bytes"]?.intValue ?? 0
        return kept > 0
      }
      try await cloud.killReplica(0)
      try await cloud.startReplica(0)
      let image = try JSONValue.parse(try await uploading)
      #expect(kept < 384 << 20, "it was killed in the middle")
      #expect(image["state"]?.stringValue == "ready" && image["sha256"]?.stringValue == disk.sha256, "\(image)")
      try await cloud.aloft("image", "download", "big", cloud.folder + "/copy.raw")
      #expect(try await run("sha256sum", cloud.folder + "/copy.raw").hasPrefix(disk.sha256))
      try await eventually("nothing is left over", within: .seconds(30)) { try await cloud.differences() == "" }
      try await cloud.stop()
    }
  }
}
