import Foundation
import LibvirtTestSupport
import TestSupport
import Testing

extension EndToEnd {
  /// What happens to libvirt and in it behind Aloft's back.
  @Suite(.timeLimit(.minutes(5)))
  struct HypervisorTests {
    @Test(
      "a machine that is wanted while libvirt is down waits and says for what; a domain that somebody removes comes back"
    )
    func behindOurBack() async throws {
      let cloud = try await Cloud.start()
      try await cloud.libvirt.kill9()
      _ = try await cloud.send("POST", "/v1/vms", #"{"name": "web", "image": "tiny", "memory_mib": 128}"#)
      try await eventually("it says what it waits for", within: .seconds(60)) {
        try await cloud.get("/v1/vms/web")["reason"]?.stringValue?.contains("libvirt") == true
      }
      #expect(await cloud.state(of: "web") == "creating")
      try await cloud.libvirt.restart()
      try await eventually("it runs", within: .seconds(90)) { await cloud.state(of: "web") == "running" }
      try await cloud.waitForSerial("web", "ALOFT-READY")

      let id = try #require(try await cloud.get("/v1/vms/web")["id"]?.stringValue)
      let pid = try #require(try cloud.libvirt.guestPid(id))
      // Its boot disk is the only volume, in one layer.
      let disk = "stat -c %i '\(cloud.folder)'/agent/layers/*.qcow2"
      let inode = try await run("sh", "-c", disk)
      for verb in ["destroy", "undefine"] { try await run("virsh", "--connect", cloud.libvirt.uri, verb, id) }
      #expect(!processRuns(pid))
      try await eventually("another QEMU runs", within: .seconds(60)) {
        guard let now = try cloud.libvirt.guestPid(id) else { return false }
        return now != pid && processRuns(now)
      }
      try await eventually("it is seen", within: .seconds(60)) { await cloud.state(of: "web") == "running" }
      try await cloud.waitForSerial("web", "boots=2")
      #expect(try await run("sh", "-c", disk) == inode, "with the disk that it had")
      #expect(try await cloud.differences() == "")
      try await cloud.stop()
    }
  }
}
