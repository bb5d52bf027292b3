import AloftModel
import Foundation
import JSON
import Northbound
import Postgres
import Testing

@testable import ControlPlane

/// Which nodes routers' ways out may go through.
@Suite("Nodes of external networks")
struct GatewayNodeTests {
  private static func network(_ test: TestPlane) async throws -> NetworkModel.ExternalNetwork {
    let objects = try await test.database.transaction(.snapshot) {
      try NetworkObjects.externalNetworks(.all, in: $0)
    }
    guard case .externalNetwork(let network)? = objects.first else { throw Problem(.internal, "\(objects)") }
    return network
  }

  private static func report(_ networking: NodeNetworking?) -> NodeReport {
    var report = FakeAgent.report()
    report.networking = networking
    return report
  }

  private static func connected(_ physical: String..., problem: String? = nil) -> NodeReport {
    report(
      NodeNetworking(datapath: .kernel, tunnelAddress: "192.0.2.1", physicalNetworks: physical, problem: problem))
  }

  private static func prepare(_ test: TestPlane) async throws -> (FakeAgent, FakeAgent) {
    try await test.makeInternet()
    let agents = (
      try await FakeAgent.join(test, "node-a", report: connected("public")),
      try await FakeAgent.join(test, "node-b", report: connected("public", "other"))
    )
    for number in 0..<9 {
      try await test.make("routers", ["name": .string("gate-\(number)"), "external_network": "internet"])
    }
    _ = try await test.toldChanges()
    #expect(try await network(test).nodes == [agents.0.id, agents.1.id])
    return agents
  }

  @Test("whatever goes wrong on nodes, what their agents say of it changes no router's way out")
  func problems() async throws {
    try await TestPlane.with { test async throws in
      let (first, second) = try await Self.prepare(test)
      let reports = [
        Self.connected("public", problem: "ovn-controller is not connected"), Self.report(nil),
        Self.connected("public"),
        Self.report(NodeNetworking(datapath: nil, tunnelAddress: nil, problem: "Open vSwitch cannot be reached")),
      ]
      for report in reports {
        for agent in [first, second] {
          var report = report
          // The second has another one, too.
          if agent.id == second.id, report.networking?.physicalNetworks == ["public"] {
            report.networking?.physicalNetworks = ["other", "public"]
          }
          #expect(try await agent.send(report: report).status == 200)
        }
        #expect(try await test.toldChanges() == [], "\(report)")
        #expect(try await Self.network(test).nodes == [first.id, second.id], "\(report)")
      }
    }
  }

  @Test("an agent that does not know yet what its node can do takes nothing away")
  func unknown() async throws {
    try await TestPlane.with { test async throws in
      let (first, _) = try await Self.prepare(test)
      #expect(try await first.send(report: Self.report(nil)).status == 200)
      let shown = await test.call(.get, "/v1/nodes/node-a")
      #expect(shown["networking"]?["physical_networks"] == ["public"] && shown["networking"]?["problem"] == .null)
    }
  }

  @Test(
    "a node without its bridge carries no way out any more, unless it was the last; one change is told, not one a router"
  )
  func withdrawn() async throws {
    try await TestPlane.with { test async throws in
      let (first, second) = try await Self.prepare(test)
      let told: SQL = "SELECT count(*) FROM network_changes"
      #expect(try await second.send(report: Self.connected("other")).status == 200)
      #expect(try await test.count(told) == 1)
      #expect(try await test.toldChanges() == ["external_network"])
      #expect(try await Self.network(test).nodes == [first.id])
      #expect(try await first.send(report: Self.connected()).status == 200)
      #expect(try await Self.network(test).nodes.contains(first.id), "there is no other")
      #expect(try await second.send(report: Self.connected("public")).status == 200)
      #expect(try await Self.network(test).nodes == [second.id])
      _ = try await test.toldChanges()
      #expect(await test.call(.patch, "/v1/nodes/node-b", ["schedulable": false]).status == 200)
      #expect(try await test.toldChanges() == ["external_network"])
      #expect(try await Self.network(test).sparedNodes == [second.id])
      try await test.database.execute("DELETE FROM nodes WHERE id = \(second.id)")
      #expect(try await test.toldChanges() == ["external_network"])
      #expect(try await Self.network(test).nodes == [first.id])
    }
  }
}
