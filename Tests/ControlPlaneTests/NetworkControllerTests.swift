import AloftModel
import Foundation
import JSON
import OVSDB
import OVSDBTestSupport
import PostgresTestSupport
import TestSupport
import Testing

@testable import ControlPlane

/// Where ovn-central has put the northbound database's schema.
private enum NorthboundSchema {
  static let path = "/usr/share/ovn/ovn-nb.ovsschema"
  static let isInstalled = FileManager.default.fileExists(atPath: path)
}

/// The loop that writes to OVN, against a real northbound database.
@Suite("Networks on their way to OVN", .enabled(if: NorthboundSchema.isInstalled))
struct NetworkControllerTests {
  private static func with(
    _ postgres: PostgresServer? = nil, _ body: (TestPlane, OVSDBServer, OVSDBClient) async throws -> Void
  ) async throws {
    let server = try await OVSDBServer(schema: try String(contentsOfFile: NorthboundSchema.path, encoding: .utf8))
    let client = try server.client { $0.database = "OVN_Northbound" }
    defer { client.close() }
    try await TestPlane.with(
      background: true, poolSize: 4, server: postgres,
      configure: { $0.networking.northbound = [server.remote.description] }
    ) { test async throws in
      try await body(test, server, client)
    }
  }

  private static func rows(_ table: String, _ client: OVSDBClient) async throws -> [[String: Value]] {
    try await client.transact([.select(table: table, where: [])]).first?.selectedRows ?? []
  }

  private static func findings(_ test: TestPlane, _ server: OVSDBServer) async throws -> [String] {
    var settings = NetworkingSettings()
    settings.northbound = [server.remote.description]
    return try await ConsistencyCheck(
      database: test.database, images: test.files, networking: settings, logger: quiet
    ).findings().map(\.description)
  }

  /// Everything that changed is in OVN.
  private static func settled(_ test: TestPlane) async throws {
    try await eventually("OVN has it", within: .seconds(30)) {
      try await test.count("SELECT count(*) FROM network_changes") == 0
    }
  }

  @Test("what is drawn comes into OVN, what is deleted goes, and what somebody deletes there comes back")
  func followsChanges() async throws {
    try await Self.with { test, server, client async throws in
      try await test.makeImage()
      _ = try await FakeAgent.join(test, report: FakeAgent.networked())
      _ = await test.call(.post, "/v1/networks", ["name": "blue"])
      _ = await test.call(.post, "/v1/subnets", ["name": "blue-v4", "network": "blue", "cidr": "10.0.0.0/24"])
      let made = await test.call(.post, "/v1/vms", TestPlane.body("a", ("nics", [["network": "blue"]])))
      let nic = try #require(made["nics"]?[0]?["id"]?.stringValue.flatMap { NICID($0) }, "\(made)")
      try await Self.settled(test)
      let ports = try await Self.rows("Logical_Switch_Port", client).compactMap { $0["name"]?.string }
      let network = try #require(made["nics"]?[0]?["network_id"]?.stringValue.flatMap { NetworkID($0) })
      #expect(Set(ports) == [nic.port, network.metadataPort])
      #expect(try await Self.findings(test, server) == [])
      #expect(await test.call(.get, "/v1/nics/\(nic)")["state"] == "down")

      try await client.transact([.delete(table: "Logical_Switch", where: [])])
      try await eventually("it comes back", within: .seconds(30)) { try await Self.findings(test, server) == [] }

      let port: [Condition] = [Condition("name", .equal, .string(nic.port))]
      try await client.transact([.update(table: "Logical_Switch_Port", where: port, row: ["up": true])])
      try await eventually("the NIC is up", within: .seconds(30)) {
        await test.call(.get, "/v1/nics/\(nic)")["state"] == "up"
      }
      try await test.database.execute("DELETE FROM nics")
      try await Self.settled(test)
      #expect(
        try await Self.rows("Logical_Switch_Port", client).compactMap { $0["name"]?.string } == [network.metadataPort])
    }
  }

  @Test("while OVN is away changes are accepted and wait, with the reason; when it is back they are carried over")
  func away() async throws {
    try await Self.with { test, server, client async throws in
      try await test.makeImage()
      _ = try await FakeAgent.join(test, report: FakeAgent.networked())
      _ = await test.call(.post, "/v1/networks", ["name": "blue"])
      try await Self.settled(test)
      try await server.kill()
      _ = await test.call(.post, "/v1/subnets", ["name": "blue-v4", "network": "blue", "cidr": "10.0.0.0/24"])
      let made = await test.call(.post, "/v1/vms", TestPlane.body("a", ("nics", [["network": "blue"]])))
      #expect(made.status == 202, "\(made)")
      let nic = try #require(made["nics"]?[0]?["id"]?.stringValue)
      try await eventually("the reason is told", within: .seconds(30)) {
        let shown = await test.call(.get, "/v1/nics/\(nic)")
        return shown["state"] == "pending" && shown["reason"]?.stringValue?.contains("cannot be reached") == true
      }
      try await server.start()
      try await Self.settled(test)
      #expect(try await Self.findings(test, server) == [])
      #expect(await test.call(.get, "/v1/nics/\(nic)")["state"] == "down")
    }
  }

  @Test(
    "what OVN refuses is told at its object for as long as it does, also by the next writer, and carried over when it can be"
  )
  func refused() async throws {
    try await Self.with { test, server, client async throws in
      try await test.makeNetwork("blue", "10.0.0.0/24")
      let machine = try await test.makeMachine("one")
      // Somebody's switch has ports of the names that ours must have.
      let (nic, network) = (NICID(UUID()), NetworkID(UUID()))
      let ports = ["p1": nic.port, "p2": network.metadataPort]
      let theirs: Row = ["name": "theirs", "ports": .set(Set(ports.keys.map { .namedUUID($0) }))]
      var operations: [OVSDB.Operation] = [.insert(table: "Logical_Switch", row: theirs)]
      for (row, name) in ports {
        operations.append(.insert(table: "Logical_Switch_Port", row: ["name": .string(name)], as: .named(row)))
      }
      try await client.transact(operations)
      try await test.database.execute(
        """
        INSERT INTO networks (id, project_id, name, mtu, dns_domain) SELECT \(network), id, 'green', 1442, 'cloud.test' FROM projects WHERE name = 'default'
        """)
      try await test.plugNIC(machine, subnet: "blue-v4", as: nic)
      func isTold() async -> Bool {
        let (shown, green) = (
          await test.call(.get, "/v1/nics/\(nic)"), await test.call(.get, "/v1/networks/green")["problem"]?.stringValue
        )
        return shown["state"] == "pending"
          && shown["reason"]?.stringValue?.hasPrefix("OVN refuses it") == true
          && green?.hasPrefix("OVN refuses it") == true
      }
      try await eventually("the reason is told", within: .seconds(30)) { await isTold() }
      #expect(await test.call(.get, "/v1/networks/blue")["problem"] == .null)
      for round in 2..<5 {
        try await test.database.execute("UPDATE network_refusals SET tried_at = tried_at - interval '1 minute'")
        if round == 3 {
          // Whoever writes then begins with everything.
          try await server.kill()
          try await server.start()
        }
        // Others come through meanwhile, and wake whoever writes.
        try await test.make("networks", ["name": .string("other-\(round)")])
        try await eventually("it is tried again, and told all along", within: .seconds(30)) {
          #expect(await isTold())
          return try await test.count("SELECT coalesce(min(tries), 0) FROM network_refusals") >= round
        }
        try await Self.settled(test)
        #expect(await test.call(.get, "/v1/networks/other-\(round)")["problem"] == .null)
      }
      #expect(try await test.count("SELECT count(*) FROM network_refusals") == 2)
      try await client.transact([.delete(table: "Logical_Switch", where: [Condition("name", .equal, "theirs")])])
      try await eventually("nothing is refused any more", within: .seconds(30)) {
        let shown = await test.call(.get, "/v1/nics/\(nic)")
        let green = await test.call(.get, "/v1/networks/green")
        return shown["state"] == "down" && green["problem"] == .null
      }
      #expect(try await Self.findings(test, server) == [])
    }
  }

  @Test(
    "states of ports that change while PostgreSQL is away are told when it is back, and so are those that change later")
  func databaseAway() async throws {
    let postgres = try await PostgresServer.start()
    try await Self.with(postgres) { test, _, client async throws in
      try await test.makeNetwork("blue", "10.0.0.0/24")
      let machine = try await test.makeMachine("one")
      var nics: [NICID] = []
      for _ in 0..<3 { nics.append(try await test.plugNIC(machine, subnet: "blue-v4")) }
      try await Self.settled(test)
      func set(_ nic: NICID, up: Bool) async throws {
        try await client.transact([
          .update(
            table: "Logical_Switch_Port", where: [Condition("name", .equal, .string(nic.port))],
            row: ["up": .boolean(up)])
        ])
      }
      func told(_ states: [String]) async throws {
        try await eventually("the states are told: \(states)", within: .seconds(60)) {
          var found: [String] = []
          for nic in nics { found.append(await test.call(.get, "/v1/nics/\(nic)")["state"]?.stringValue ?? "") }
          return found == states
        }
      }
      try await set(nics[0], up: true)
      try await told(["up", "down", "down"])
      try await postgres.kill9()
      try await set(nics[0], up: false)
      try await set(nics[1], up: true)
      try await postgres.restart()
      try await told(["down", "up", "down"])
      try await set(nics[2], up: true)
      try await told(["down", "up", "up"])
    }
    await postgres.stop()
  }
}
