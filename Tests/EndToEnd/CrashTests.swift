import Foundation
import Glibc
import JSON
import LibvirtTestSupport
import TestSupport
import Testing

extension EndToEnd {
  /// kill -9 of each part in the middle of creates: no guest stops, every operation ends, nothing is left over.
  @Suite(.timeLimit(.minutes(15)))
  struct CrashTests {
    enum Part: String, CaseIterable, Sendable {
      case aloftd, agent, libvirtd, postgres, everything
    }

    @Test("kill -9 in mid-create")
    func killed() async throws {
      let cloud = try await Cloud.start()
      let keeper = try await cloud.send(
        "POST", "/v1/vms", #"{"name": "keeper", "image": "tiny", "memory_mib": 128}"#, headers: ["Prefer: wait=60"])
      #expect(keeper["state"]?.stringValue == "running")
      let keeperID = try #require(keeper["id"]?.stringValue)
      let pid = try #require(try cloud.libvirt.guestPid(keeperID))

      for (round, part) in Part.allCases.flatMap({ [$0, $0, $0] }).enumerated() {
        let vm = "\(part)-\(round)"
        let made = try await cloud.send("POST", "/v1/vms", #"{"name": "\#(vm)", "image": "tiny", "memory_mib": 128}"#)
        #expect(made["operation"]?["status"]?.stringValue == "queued")
        try await kill(part, of: cloud)
        #expect(processRuns(pid), "the guest that ran goes on without \(part)")
        try await restart(part, of: cloud)
        try await eventually("\(vm) runs", within: .seconds(90)) { await cloud.state(of: vm) == "running" }
        let operation = try #require(made["operation"]?["id"]?.stringValue)
        let ended = try await cloud.get("/v1/operations/\(operation)?wait=30")
        #expect(ended["status"]?.stringValue == "succeeded", "\(part): \(ended)")
        // The next kill comes in the middle of this deletion.
        _ = try await cloud.send("DELETE", "/v1/vms/\(vm)", "")
      }
      try await eventually("what was deleted is gone", within: .seconds(90)) {
        (try? await cloud.get("/v1/vms"))?["items"]?.arrayValue?.count == 1
      }
      #expect(processRuns(pid))
      #expect(await cloud.state(of: "keeper") == "running")
      #expect(try FileManager.default.contentsOfDirectory(atPath: cloud.folder + "/agent/vms").count == 1)
      #expect(try await cloud.differences() == "")
      try await cloud.stop()
    }

    @Test("a QEMU that is killed is seen and started again")
    func qemuKilled() async throws {
      let cloud = try await Cloud.start()
      let made = try await cloud.send(
        "POST", "/v1/vms", #"{"name": "phoenix", "image": "tiny", "memory_mib": 128}"#, headers: ["Prefer: wait=60"])
      let name = try #require(made["id"]?.stringValue)
      let pid = try #require(try cloud.libvirt.guestPid(name))
      Glibc.kill(pid, SIGKILL)
      try await eventually("another QEMU runs", within: .seconds(60)) {
        guard let now = try cloud.libvirt.guestPid(name) else { return false }
        return now != pid && processRuns(now)
      }
      try await eventually("it is seen running", within: .seconds(60)) { await cloud.state(of: "phoenix") == "running" }
      #expect(try await cloud.differences() == "")
      try await cloud.stop()
    }

    private func kill(_ part: Part, of cloud: Cloud) async throws {
      switch part {
      case .aloftd: try await cloud.killReplica(0)
      case .agent: try await cloud.killAgent()
      case .libvirtd: try await cloud.libvirt.kill9()
      case .postgres: try await cloud.postgres.kill9()
      case .everything:
        for part in [Part.agent, .libvirtd, .postgres, .aloftd] { try await kill(part, of: cloud) }
      }
    }

    private func restart(_ part: Part, of cloud: Cloud) async throws {
      switch part {
      case .aloftd: try await cloud.startReplica(0)
      case .agent: try await cloud.startAgent()
      case .libvirtd: try await cloud.libvirt.restart()
      case .postgres: try await cloud.postgres.restart()
      case .everything:
        for part in [Part.postgres, .aloftd, .libvirtd, .agent] { try await restart(part, of: cloud) }
      }
    }
  }
}
