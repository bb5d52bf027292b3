import Foundation
import JSON
import TestSupport
import Testing

extension EndToEnd {
  /// More addresses wanted at once than there are, over real sockets to two replicas.
  @Suite(.timeLimit(.minutes(5)))
  struct AddressRaceTests {
    private static let most = 10_000
    /// Whoever counts against a quota queues in its project: several projects let replicas work on many at once.
    private static let projects = 16

    @Test(
      "of 10 100 who want one of 10 000 addresses at once, each gets another one and the rest are told that none is left"
    )
    func race() async throws {
      let cloud = try await Cloud.start(
        Cloud.Shape(replicas: 2, leaseSeconds: 600, serve: ["--rate-limit", "0"]))
      try await cloud.killAgent()
      let caller = CloudCaller(cloud, connections: 50)
      defer { caller.close() }
      let made = try await caller.send(
        .post, "/v1/external-networks", to: 0, #"{"name": "public", "physical_network": "external"}"#)
      #expect(made.status == 201, "\(made)")
      // 10 000, in two ranges.
      let subnet = try await caller.send(
        .post, "/v1/external-networks/public/subnets", to: 0,
        #"{"name": "public-v4", "cidr": "100.64.0.0/10", "pools": ["100.64.1.0-100.64.20.255", "100.65.0.0-100.65.19.15"]}"#
      )
      #expect(subnet.status == 201, "\(subnet)")
      for number in 0..<Self.projects {
        let made = try await caller.send(.post, "/v1/projects", to: 0, #"{"name": "race-\#(number)"}"#)
        #expect(made.status == 201, "\(made)")
      }
      let answers = try await withThrowingTaskGroup(of: (status: Int, body: JSONValue).self) { group in
        for number in 0..<(Self.most + 100) {
          group.addTask {
            try await caller.send(
              .post, "/v1/floating-ips?project=race-\(number % Self.projects)", to: number % 2,
              #"{"external_network": "public"}"#)
          }
        }
        return try await group.reduce(into: []) { $0.append($1) }
      }
      let addresses = answers.filter { $0.status == 201 }.compactMap { $0.body["address"]?.stringValue }
      #expect(addresses.count == Self.most && Set(addresses).count == Self.most)
      let refused = answers.filter { $0.status != 201 }.map(\.body)
      #expect(refused.count == 100)
      for problem in refused { #expect(problem["code"] == "addresses_exhausted", "\(problem)") }
      let shown = try await cloud.get("/v1/external-networks/public/subnets")
      #expect(shown["items"]?[0]?["addresses_used"]?.intValue == Self.most, "\(shown)")
      #expect(try await cloud.differences() == "")
      try await cloud.stop()
    }
  }
}
