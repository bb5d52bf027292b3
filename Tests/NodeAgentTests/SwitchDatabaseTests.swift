import AloftModel
import Foundation
import OVSDB
import OVSDBTestSupport
import Testing

@testable import NodeAgent

private let schema = "/usr/share/openvswitch/vswitch.ovsschema"

/// A real ovsdb-server with Open vSwitch's schema, and nothing that acts on it.
@Suite("Open vSwitch's database", .enabled(if: access(schema, R_OK) == 0, "needs Open vSwitch"))
struct SwitchDatabaseTests {
  @Test("what is written is what is read: a second look has nothing to do, and others' settings stay")
  func convergence() async throws {
    let server = try await OVSDBServer(schema: String(contentsOfFile: schema, encoding: .utf8))
    let client = try server.client { $0.database = "Open_vSwitch" }
    defer { client.close() }
    try await client.transact([
      .insert(
        table: "Open_vSwitch", row: ["external_ids": .map(["system-id": "of the distribution", "somebody": "else's"])])
    ])
    let replica = client.replica(of: LocalSwitch.tables)
    func look() async throws -> LocalSwitch {
      let snapshot = try await replica.current()
      return try #require(LocalSwitch(rows: { snapshot[$0] }))
    }
    var intent = SwitchTests().intent()
    let operations = intent.operations(for: try await look())
    try await client.transact(operations)
    var actual = try await look()
    #expect(intent.operations(for: actual).isEmpty)
    #expect(actual.externalIDs["somebody"] == "else's")
    #expect(actual.externalIDs["system-id"] == SwitchTests.node.description)
    #expect(actual.tls?.certificate == "/i/node.pem" && actual.tls?.authorities == "/i/ca")
    #expect(actual.bridges["br-ex"]?.datapathType == "netdev")

    // The certificate's place changes, and OVN's bridge appears.
    intent.identity?.certificate = "/other.pem"
    try await client.transact(intent.operations(for: actual))
    try await client.transact([
      .insert(table: "Bridge", row: ["name": "br-int"], as: .named("b")),
      .mutate(
        table: "Open_vSwitch", where: [.row(actual.id)], mutations: [Mutation("bridges", .insert, .namedUUID("b"))]),
    ])
    actual = try await look()
    #expect(actual.tls?.certificate == "/other.pem")
    let bridge = try #require(actual.integration)

    // Ports: the metadata service's by intent, a guest's by repair.
    intent.metadata = MetadataPorts(wanted: ["am1": "metadata-1"], ready: ["am1"])
    try await client.transact(intent.operations(for: actual))
    let nic = DomainNIC(id: .sample(1), mac: "02:00:00:00:00:01")
    let device = NICSpecification.device(of: nic.id)
    try await client.transact(
      LocalSwitch.addition(
        of: device, to: bridge, externalIDs: PortCare.Repair.externalIDs(nic, .sample(1)), name: "guest"))
    actual = try await look()
    #expect(actual.ports["am1"]?.logicalPort == "metadata-1")
    #expect(actual.guestPorts[.sample(1)]?.device == device && actual.installed.isEmpty)
    try await client.transact([
      .mutate(
        table: "Interface", where: [Condition("name", .equal, .string(device))],
        mutations: [Mutation("external_ids", .insert, .map(["ovn-installed": "true"]))])
    ])
    actual = try await look()
    #expect(actual.installed == [.sample(1)])
    intent.metadata.wanted = [:]
    try await client.transact(intent.operations(for: actual) + [try #require(actual.ports[device]).removal])
    #expect(try await look().ports.isEmpty)
  }
}
