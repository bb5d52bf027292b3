import AloftModel
import Foundation
import JSON
import OVSDB
import OVSDBTestSupport
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
  private static func with(_ body: (TestPlane, OVSDBServer, OVSDBClient) async throws -> Void) async throws {
    let server = try await OVSDBServer(schema: try String(contentsOfFile: NorthboundSchema.path, encoding: .utf8))
    let client = try server.client { $0.database = "OVN_Northbound" }
    defer { client.close() }
    try await TestPlane.with(
      background: true, poolSize: 4, configure: { $0.networking.northbound = [server.remote.description] }
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
}
