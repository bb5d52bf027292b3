import Foundation
import HTTPClient
import HTTPTypes
import JSON
import Logging
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
      let configuration = HTTPClientConfiguration(
        trustRoots: .file(cloud.folder + "/pki/ca.crt"), maxConnectionsPerHost: 100)
      let client = HTTPClient(configuration: configuration, logger: Logger(label: "race"))
      defer { client.close() }
      let answers = try await withThrowingTaskGroup(of: (Int, JSONValue).self) { group in
        for number in 0..<200 {
          group.addTask {
            let headers: HTTPFields = [.authorization: "Bearer \(cloud.token)", .contentType: "application/json"]
            let body = #"{"name": "vm-\#(number)", "image": "tiny", "memory_mib": 128, "disk_gib": 1}"#
            let response = try await client.send(
              HTTPClientRequest(
                method: .post, url: cloud.url(number % 2) + "/v1/vms", headers: headers, body: .bytes(Array(body.utf8))),
              deadline: .seconds(120))
            return (response.status, try JSONValue.parse(response.body))
          }
        }
        return try await group.reduce(into: []) { $0.append($1) }
      }
      let refused = answers.filter { $0.0 == 409 }.map(\.1)
      #expect(answers.count { $0.0 == 202 } == 50)
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
