import AloftModel
import Foundation
import JSON
import Postgres
import TestSupport
import Testing

@testable import ControlPlane

@Suite("Consistency check of networks")
struct NetworkCheckTests {
  /// Something of each kind: two networks on a router that leads out, a third one on another router, both linked twice, a NIC with
  /// a floating IP, and a load balancer that tries it.
  private static func prepare(_ test: TestPlane) async throws {
    try await test.makeInternet()
    try await test.makeNetwork("blue", "10.0.0.0/24", "fd00:1::/64")
    try await test.makeNetwork("green", "10.1.0.0/24")
    try await test.makeNetwork("red", "10.3.0.0/24")
    try await test.make("routers", ["name": "gate", "external_network": "internet"])
    try await test.make("routers", ["name": "far"])
    for target in [
      "gate/interfaces/blue-v4", "gate/interfaces/blue-v6", "gate/interfaces/green-v4", "far/interfaces/red-v4",
    ] {
      #expect(await test.call(.put, "/v1/routers/\(target)").status == 200)
    }
    let routes: JSONValue = [
      ["destination": "192.168.0.0/24", "next_hop": "10.0.0.99"],
      ["destination": "192.168.1.0/24", "next_hop": "203.0.113.1"],
    ]
    #expect(await test.call(.patch, "/v1/routers/gate", ["routes": routes]).status == 200)
    try await test.make("security-groups", ["name": "web", "rules": [["direction": "ingress", "remote": "default"]]])
    let machine = try await test.makeMachine("one")
    let nic = JSONValue.string("\(try await test.plugNIC(machine, subnet: "blue-v4", address: "10.0.0.7"))")
    try await test.make("floating-ips", ["external_network": "internet", "nic": nic])
    try await test.make("floating-ips", ["external_network": "internet"])
    let members: JSONValue = [["nic": nic, "port": 80], ["address": "10.1.0.9", "port": 80]]
    try await test.make(
      "load-balancers",
      [
        "name": "www", "subnet": "green-v4",
        "listeners": [["protocol": "tcp", "port": 80, "members": members, "health_check": [:]]],
      ])
    for network in ["blue", "green"] {
      try await test.make(
        "network-peerings", ["name": .string(network), "network": .string(network), "peer_network": "red"])
    }
    try await test.make("projects", ["name": "other"])
  }

  private static func subnet(_ name: StaticString) -> SQL {
    "(SELECT id FROM subnets WHERE name = \(name.description))"
  }
  private static func network(_ name: StaticString) -> SQL {
    "(SELECT id FROM networks WHERE name = \(name.description))"
  }
  private static let router: SQL = "(SELECT id FROM routers WHERE name = 'gate')"
  private static let other: SQL = "(SELECT id FROM projects WHERE name = 'other')"

  /// What somebody does behind the plane's back, and the beginning of the rule that it breaks.
  private struct Damage: Sendable {
    var rule: String
    var statements: [SQL]

    init(_ rule: String, _ statements: SQL...) {
      self.rule = rule
      self.statements = statements
    }
  }

  private static let owners: [Damage] =
    ([
      ("subnets", " WHERE name = 'red-v4'"), ("nics", ""), ("security_groups", " WHERE name = 'web'"), ("routers", ""),
      ("floating_ips", ""), ("load_balancers", ""), ("network_peerings", ""),
    ] as [(String, SQL)]).map { table, spared in
      Damage(
        "what is connected is of",
        "UPDATE \(identifier: table) SET project_id = \(fragment: other)\(fragment: spared)")
    }

  private static let networks: [Damage] = [
    Damage("what is connected is of", "UPDATE floating_ips SET network_id = \(fragment: network("blue"))"),
    Damage(
      "no two subnets of a network",
      """
      UPDATE subnets SET network_id = \(fragment: network("blue")), cidr = '10.0.0.0/23', gateway = NULL,
                         metadata_address = NULL WHERE name = 'red-v4'
      """),
    Damage("a subnet gives out", "UPDATE subnets SET pool_first = ARRAY[gateway] WHERE name = 'blue-v4'"),
    Damage("a subnet gives out", "UPDATE subnets SET pool_size = ARRAY[1000] WHERE name = 'blue-v4'"),
    Damage("every address is of", "UPDATE addresses SET address = '192.0.2.1' WHERE nic_id IS NOT NULL"),
    Damage(
      "nobody has an address with",
      """
      UPDATE addresses a SET address = s.metadata_address FROM subnets s WHERE s.id = a.subnet_id AND a.nic_id IS NOT NULL
      """),
    Damage(
      "nobody has an address with",
      """
      UPDATE addresses SET router_id = NULL, nic_id = (SELECT id FROM nics)
       WHERE router_id IS NOT NULL AND subnet_id = \(fragment: subnet("blue-v4"))
      """),
    Damage(
      "an address that was given back",
      """
      INSERT INTO addresses (subnet_id, address, released_at)
      VALUES (\(fragment: subnet("blue-v4")), '10.0.0.200', aloft_now() - interval '2 days')
      """),
    Damage("a NIC has addresses", "DELETE FROM addresses WHERE nic_id IS NOT NULL"),
    Damage("a NIC has addresses", "UPDATE nics SET network_id = \(fragment: network("red"))"),
    Damage(
      "a NIC that was deleted", "DELETE FROM work", "UPDATE nics SET deleted_at = aloft_now() - interval '1 hour'"),
    Damage("every project has its default", "UPDATE security_groups SET is_default = false"),
  ]

  private static let routers: [Damage] = [
    Damage(
      "a router has one port",
      "UPDATE router_interfaces SET mac = '02:00:00:00:00:99' WHERE subnet_id = \(fragment: subnet("blue-v6"))"),
    Damage(
      "a router has one port",
      """
      UPDATE router_interfaces SET network_id = \(fragment: network("red")) WHERE subnet_id = \(fragment: subnet("green-v4"))
      """),
    Damage(
      "a router has the gateway's",
      "DELETE FROM addresses WHERE router_id IS NOT NULL AND subnet_id = \(fragment: subnet("blue-v4"))"),
    Damage(
      "a router has addresses in",
      """
      INSERT INTO addresses (subnet_id, address, router_id)
      VALUES (\(fragment: subnet("red-v4")), '10.3.0.77', \(fragment: router))
      """),
    Damage(
      "a router that leads out",
      "DELETE FROM addresses WHERE router_id IS NOT NULL AND subnet_id = \(fragment: subnet("internet-v4"))"),
    Damage(
      "a router that leads out",
      """
      INSERT INTO addresses (subnet_id, address, router_id)
      VALUES (\(fragment: subnet("internet-v4")), '203.0.113.9', \(fragment: router))
      """),
    Damage(
      "no two subnets that a router",
      "UPDATE subnets SET cidr = '10.0.0.0/23', gateway = '10.0.1.1', metadata_address = NULL WHERE name = 'red-v4'"),
    Damage(
      "a router's routes",
      """
      UPDATE routers SET routes = '[{"destination": "192.168.0.0/24", "next_hop": "172.16.0.1"}]' WHERE name = 'gate'
      """),
    Damage("a floating IP has one", "DELETE FROM addresses WHERE floating_ip_id IS NOT NULL"),
    Damage(
      "a floating IP leads",
      "UPDATE floating_ips SET subnet_id = \(fragment: subnet("green-v4")) WHERE nic_id IS NOT NULL"),
    Damage("a floating IP leads", "UPDATE routers SET external_network_id = NULL, external_mac = NULL"),
  ]

  private static let links: [Damage] = [
    Damage("a load balancer has its", "UPDATE load_balancers SET address = '10.1.0.200'"),
    Damage(
      "a load balancer has one more",
      "DELETE FROM addresses WHERE load_balancer_id IS NOT NULL AND subnet_id = \(fragment: subnet("blue-v4"))"),
    Damage(
      "a load balancer has one more",
      """
      INSERT INTO addresses (subnet_id, address, load_balancer_id)
      SELECT \(fragment: subnet("blue-v4")), '10.0.0.201', id FROM load_balancers
      """),
    Damage(
      "a load balancer reaches", "DELETE FROM router_interfaces WHERE subnet_id = \(fragment: subnet("green-v4"))"),
    Damage(
      "a load balancer reaches", "UPDATE load_balancer_members SET address = '192.0.2.9' WHERE address IS NOT NULL"),
    Damage("a peering's routers", "DELETE FROM router_interfaces WHERE subnet_id = \(fragment: subnet("red-v4"))"),
    Damage("no two peerings", "UPDATE network_peerings SET link = 7"),
  ]

  @Test("each rule finds what was edited behind the plane's back")
  func finds() async throws {
    try await TestPlane.with { test async throws in
      try await Self.prepare(test)
      #expect(try await test.findings() == [])
      var broken: Set<String> = []
      for damage in Self.owners + Self.networks + Self.routers + Self.links {
        // It is undone again.
        let findings = try await test.database.transaction(TransactionOptions(discard: true)) { session in
          for statement in damage.statements { #expect(try session.execute(statement) > 0, "\(statement.text)") }
          return try ConsistencyCheck.findings(in: session).map(\.rule)
        }
        let found = findings.filter { $0.hasPrefix(damage.rule) }
        #expect(!found.isEmpty, "\(damage): \(findings)")
        broken.formUnion(found)
      }
      #expect(broken == Set((NetworkRules.rules + RoutingRules.rules).map(\.0)))
      #expect(try await test.findings() == [])
    }
  }
}
