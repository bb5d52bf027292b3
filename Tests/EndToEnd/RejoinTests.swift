import Foundation
import JSON
import TestSupport
import Testing

extension EndToEnd {
  /// Nodes that come and go.
  @Suite(.timeLimit(.minutes(5)))
  struct RejoinTests {
    @Test(
      "a node that was removed joins again with another token though its certificate is still good, and runs guests")
    func removed() async throws {
      let cloud = try await Cloud.start()
      let first = try await cloud.get("/v1/nodes/node1")["id"]
      try await cloud.aloft("node", "delete", "node1", "--force")
      try await eventually("the agent says that it was removed", within: .seconds(60)) {
        let log = try String(contentsOfFile: cloud.folder + "/agent.log", encoding: .utf8)
        return log.contains("join again with a new token")
      }
      try await cloud.killAgent()
      try await cloud.renewJoinToken()
      // The second start has the same token again, and does not need it.
      for _ in 1...2 {
        try await cloud.startAgent()
        try await eventually("the node is ready", within: .seconds(60)) {
          (try? await cloud.get("/v1/nodes/node1"))?["state"]?.stringValue == "ready"
        }
        #expect(try await cloud.get("/v1/nodes/node1")["id"] != first)
        let name = "vm-\(UUID().uuidString.prefix(8).lowercased())"
        let made = try await cloud.send(
          "POST", "/v1/vms", #"{"name": "\#(name)", "image": "tiny", "memory_mib": 128}"#, headers: ["Prefer: wait=60"])
        #expect(made["state"]?.stringValue == "running", "\(made)")
        try await cloud.killAgent()
      }
      #expect(try await cloud.get("/v1/nodes")["items"]?.arrayValue?.count == 1)
      #expect(try await cloud.differences() == "")
      try await cloud.stop()
    }
  }
}
