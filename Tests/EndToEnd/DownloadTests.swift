import Foundation
import Glibc
import LibvirtTestSupport
import TestSupport
import Testing

extension StorageEndToEnd {
  /// Images on their way to a node.
  @Suite(.timeLimit(.minutes(5)))
  struct DownloadTests {
    private func images(_ cloud: Cloud) throws -> [String] {
      try FileManager.default.contentsOfDirectory(atPath: cloud.folder + "/agent/images").sorted()
    }

    private func make(_ name: String, _ image: String, _ cloud: Cloud) async throws {
      _ = try await cloud.send(
        "POST", "/v1/vms", #"{"name": "\#(name)", "image": "\#(image)", "memory_mib": 64, "power": "stopped"}"#)
    }

    @Test(
      "a control plane that dies in mid-download costs nothing but time: the image arrives whole and nothing half is left"
    )
    func interrupted() async throws {
      let cloud = try await Cloud.start()
      let path = cloud.folder + "/big.raw"
      try await run("truncate", "-s", "384M", path)
      try await cloud.aloft("image", "upload", "big", path)
      try await make("vm", "big", cloud)
      let folder = cloud.folder + "/agent/images"
      try await eventually("the download is under way", within: .seconds(30)) {
        try images(cloud).contains { name in
          var status = stat()
          return name.hasPrefix(".") && stat("\(folder)/\(name)", &status) == 0 && status.st_size > 1 << 20
        }
      }
      try await cloud.killReplica(0)
      try await eventually("the half of it is gone", within: .seconds(30)) {
        try images(cloud).allSatisfy { !$0.hasPrefix(".") }
      }
      #expect(try images(cloud).isEmpty, "nothing had arrived whole before")
      try await cloud.startReplica(0)
      try await eventually("the machine is there", within: .seconds(120)) { await cloud.state(of: "vm") == "stopped" }
      let arrived = try images(cloud)
      #expect(arrived.count == 1)
      let digest = try await run("sha256sum", "\(folder)/\(arrived.first ?? "")")
      #expect(digest.hasPrefix(arrived.first ?? "none"))
      #expect(try await cloud.differences() == "")
      try await cloud.stop()
    }

    @Test(
      "an image whose bytes are not what was uploaded is refused by the node with the reason, and taken when they are right"
    )
    func corrupt() async throws {
      let cloud = try await Cloud.start()
      let store = cloud.folder + "/images/images"
      let file = try #require(try FileManager.default.contentsOfDirectory(atPath: store).first)
      func flip() throws {
        let handle = try #require(FileHandle(forUpdatingAtPath: "\(store)/\(file)"))
        try handle.seek(toOffset: 1_000_000)
        let byte = try #require(try handle.read(upToCount: 1)?.first)
        try handle.seek(toOffset: 1_000_000)
        try handle.write(contentsOf: [byte ^ 1])
        try handle.close()
      }
      try flip()
      try await make("vm", "tiny", cloud)
      try await eventually("the reason is told", within: .seconds(60)) {
        let vm = try await cloud.get("/v1/vms/vm")
        return vm["state"]?.stringValue == "failed" && vm["reason"]?.stringValue?.contains("SHA-256") == true
      }
      #expect(try images(cloud).isEmpty)
      try flip()
      try await eventually("the machine is there", within: .seconds(120)) { await cloud.state(of: "vm") == "stopped" }
      #expect(try await cloud.differences() == "")
      try await cloud.stop()
    }
  }
}
