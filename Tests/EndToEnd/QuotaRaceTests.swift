import Foundation
import JSON
import TestSupport
import Testing

extension EndToEnd {
  /// More creates at once than a project's quota allows, over real sockets to two replicas.
  @Suite(.timeLimit(.minutes(5)))
  struct QuotaRaceTests {
    @Test("of 1000 creates at once against a quota of 100, 100 are accepted and 900 are told which quota refuses")
    func race() async throws {
      let cloud = try await Cloud.start(
        Cloud.Shape(replicas: 2, memoryMiB: 1 << 20, vcpus: 4000, leaseSeconds: 600))
      try await cloud.killAgent()
      let caller = CloudCaller(cloud, connections: 100)
      defer { caller.close() }
      // However full this machine's disk is, it is the quota that refuses.
      let widened = try await caller.send(.patch, "/v1/node-pools/default", to: 0, #"{"disk_overcommit": 100}"#)
      #expect(widened.status == 200, "\(widened)")
      let limited = try await caller.send(.put, "/v1/projects/default/quotas", to: 0, #"{"vms": 100}"#)
      #expect(limited.status == 200, "\(limited)")
      let answers = try await withThrowingTaskGroup(of: (status: Int, body: JSONValue).self) { group in
        for number in 0..<1000 {
          group.addTask {
            try await caller.send(
              .post, "/v1/vms", to: number % 2,
              #"{"name": "vm-\#(number)", "image": "tiny", "memory_mib": 128, "disk_gib": 1}"#)
          }
        }
        return try await group.reduce(into: []) { $0.append($1) }
      }
      let refused = answers.filter { $0.status == 409 }.map(\.body)
      #expect(answers.count { $0.status == 202 } == 100)
      #expect(refused.count == 900)
      for problem in refused {
        #expect(problem["code"] == "quota_exceeded", "\(problem)")
        #expect(problem["quota"] == ["quota": "vms", "limit": 100, "used": 100, "asked": 1], "\(problem)")
      }
      let usage = try await cloud.get("/v1/projects/default/usage")
      #expect(usage["items"]?[0] == ["quota": "vms", "used": 100, "limit": 100, "is_default": false], "\(usage)")
      #expect(try await cloud.differences() == "")
      try await cloud.stop()
    }
  }
}
