import Foundation
import OVSDBTestSupport
import TestSupport
import Testing

@testable import OVSDB

private let northboundSchema = "/usr/share/ovn/ovn-nb.ovsschema"

/// With OVN's own schema, where the package ovn-central is installed.
@Suite("OVN's northbound schema", .enabled(if: FileManager.default.isReadableFile(atPath: northboundSchema)))
struct NorthboundTests {
  @Test("a switch with a port is written once, however often it is written, and the replica of all tables has it")
  func switchAndPort() async throws {
    let server = try await OVSDBServer(schema: try String(contentsOfFile: northboundSchema, encoding: .utf8))
    let client = try server.client { $0.database = "OVN_Northbound" }
    let schema = try await client.schema()
    let replica = client.replica(of: schema.tables.keys.map { MonitoredTable($0) })
    let (network, port) = (UUID(), UUID())
    let write: [OVSDB.Operation] = [
      .insert(
        table: "Logical_Switch", row: ["name": "blue", "ports": .uuid(port), "external_ids": .map(["owner": "t"])],
        as: .identified(network)),
      .insert(
        table: "Logical_Switch_Port", row: ["name": "p", "addresses": .strings(["02:00:00:00:00:01 10.0.0.2"])],
        as: .identified(port)),
    ]
    try await client.transact(write)
    let again = await failure { try await client.transact(write) }
    #expect(again?.fault?.code == .duplicateUUID)
    let snapshot = try await replica.current()
    #expect(snapshot["Logical_Switch"][network]?["ports"] == .uuid(port))
    #expect(snapshot["Logical_Switch"][network]?["external_ids"]?.stringMap == ["owner": "t"])
    #expect(snapshot["Logical_Switch_Port"][port]?["up"] == .empty)
    let dangling = await failure {
      try await client.transact([
        .mutate(
          table: "Logical_Switch", where: [.row(network)], mutations: [Mutation("ports", .insert, .uuid(UUID()))])
      ])
    }
    guard case .commitFailed(let fault)? = dangling?.kind else {
      Issue.record("\(String(describing: dangling))")
      return
    }
    #expect(fault.code == .referentialIntegrityViolation)
    // A port that nothing refers to any more is collected.
    try await client.transact([
      .mutate(table: "Logical_Switch", where: [.row(network)], mutations: [Mutation("ports", .delete, .uuid(port))])
    ])
    #expect(replica.snapshot["Logical_Switch_Port"].isEmpty)
  }
}
