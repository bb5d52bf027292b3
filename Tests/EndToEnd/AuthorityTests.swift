import Foundation
import JSON
import TestSupport
import Testing

extension EndToEnd {
  /// The authority of a running cloud.
  @Suite(.timeLimit(.minutes(8)))
  struct AuthorityTests {
    @Test("another authority takes over while everything runs: no process is restarted, and no guest notices")
    func rotation() async throws {
      let cloud = try await Cloud.start(replicas: 2)
      let made = try await cloud.send(
        "POST", "/v1/vms", #"{"name": "steady", "image": "tiny", "memory_mib": 128}"#, headers: ["Prefer: wait=60"])
      #expect(made["state"]?.stringValue == "running", "\(made)")
      try await cloud.waitForSerial("steady", "ALOFT-READY")
      let guest = try #require(try cloud.libvirt.guestPid(made["id"]?.stringValue ?? ""))

      try await cloud.aloftd("ca", "rotate")
      // Clients are given the next authority before it is used.
      let before = cloud.folder + "/pki/before.crt"
      try FileManager.default.copyItem(atPath: cloud.folder + "/pki/ca.crt", toPath: before)
      try await cloud.aloftd("ca", "export", "--out", cloud.folder + "/pki/ca.crt")
      try await eventually("the old authority is retired", within: .seconds(180)) {
        try await cloud.aloftd("ca", "list").contains("  retired  ")
      }
      try await eventually("both replicas show certificates of the new one", within: .seconds(30)) {
        for replica in 0..<2 {
          let answer = try? await run("curl", "-sS", "--cacert", before, cloud.url(replica) + "/healthz")
          if answer != nil { return false }
        }
        return true
      }
      try await cloud.aloftd("ca", "export", "--out", cloud.folder + "/pki/ca.crt")
      // The way from agent to client goes on, and so does the guest.
      try await cloud.waitForSerial("steady", "ALOFT-READY")
      #expect(try await cloud.get("/v1/nodes/node1")["state"]?.stringValue == "ready")
      #expect(try cloud.libvirt.guestPid(made["id"]?.stringValue ?? "") == guest && processRuns(guest))

      // An agent whose operator left the old file in place starts all the same.
      try await cloud.killAgent()
      try await cloud.startAgent(ca: before)
      let stop = try await cloud.send("POST", "/v1/vms/steady/stop", "{}", headers: ["Prefer: wait=60"])
      #expect(stop["state"]?.stringValue == "stopped", "\(stop)")
      #expect(try await cloud.differences() == "")
      try await cloud.stop()
    }
  }
}
