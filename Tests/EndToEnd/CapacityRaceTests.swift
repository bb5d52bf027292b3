import Foundation
import JSON
import TestSupport
import Testing

extension EndToEnd {
  /// More creates at once than there is room for, over real sockets to two replicas.
  @Suite(.timeLimit(.minutes(5)))
  struct CapacityRaceTests {
    @Test("of 200 creates at once with room for 50, 50 are accepted and 150 are told why not")
    func race() async throws {
      // The node keeps its lease while nobody is there to make the machines: the race is about placing them.
      let cloud = try await Cloud.start(Cloud.Shape(replicas: 2, memoryMiB: 50 * 128, vcpus: 400, leaseSeconds: 600))
      try await cloud.killAgent()
      let caller = CloudCaller(cloud, connections: 100)
      defer { caller.close() }
      let answers = try await withThrowingTaskGroup(of: (status: Int, body: JSONValue).self) { group in
        for number in 0..<200 {
          group.addTask {
            try await caller.send(
              .post, "/v1/vms", to: number % 2,
              #"{"name": "vm-\#(number)", "image": "tiny", "memory_mib": 128, "disk_gib": 1}"#)
          }
        }
        return try await group.reduce(into: []) { $0.append($1) }
      }
      let refused = answers.filter { $0.status == 409 }.map(\.body)
      #expect(answers.count { $0.status == 202 } == 50)
      #expect(refused.count == 150)
      for problem in refused {
        #expect(problem["code"]?.stringValue == "no_capacity", "\(problem)")
        #expect(problem["detail"]?.stringValue?.contains("memory") == true, "\(problem)")
      }
      let node = try await cloud.get("/v1/nodes/node1")
      #expect(node["claimed"]?["memory_mib"] == 6400, "\(node)")
      #expect(try await cloud.differences() == "")
      try await cloud.stop()
    }
  }
}
