import AloftModel
import Foundation
import IPAddressing
import JSON
import Northbound
import Postgres
import TestSupport
import Testing

@testable import ControlPlane

/// Who has an address, and what follows from it elsewhere.
@Suite("Addresses and what they mean")
struct AddressMeaningTests {
  private static func members(_ test: TestPlane) async throws -> [NetworkModel.LoadBalancer.Member] {
    try await test.database.transaction(.snapshot) { session in
      try NetworkObjects.loadBalancers(.all, in: session).flatMap { object in
        guard case .loadBalancer(let balancer) = object else { return [] as [NetworkModel.LoadBalancer.Member] }
        return balancer.listeners.flatMap(\.members)
      }
    }
  }

  private static func prepare(_ test: TestPlane) async throws -> VMID {
    let machine = try await test.makeMachine("one")
    try await test.makeInternet()
    try await test.makeNetwork("blue", "10.0.0.0/24")
    try await test.make("routers", ["name": "gate", "external_network": "internet"])
    #expect(await test.call(.put, "/v1/routers/gate/interfaces/blue-v4").status == 200)
    return machine
  }

  private static func balance(_ member: JSONValue, _ test: TestPlane) async throws {
    try await test.make(
      "load-balancers",
      [
        "name": "web", "subnet": "blue-v4",
        "listeners": [["protocol": "tcp", "port": 80, "members": [member], "health_check": [:]]],
      ])
    _ = try await test.toldChanges()
  }

  @Test("a load balancer is told of when a NIC takes the address of one of its members, and when it gives it back")
  func members() async throws {
    try await TestPlane.with { test async throws in
      let machine = try await Self.prepare(test)
      try await Self.balance(["address": "10.0.0.50", "port": 80], test)
      #expect(try await Self.members(test).map(\.nic) == [nil])
      _ = try await test.plugNIC(machine, subnet: "blue-v4", address: "10.0.0.49")
      #expect(try await !test.toldChanges().contains("load_balancer"))
      let nic = try await test.plugNIC(machine, subnet: "blue-v4", address: "10.0.0.50")
      #expect(try await test.toldChanges().contains("load_balancer"))
      #expect(try await Self.members(test).map(\.nic) == [nic])
      try await test.database.execute("DELETE FROM nics WHERE id = \(nic)")
      #expect(try await test.toldChanges().contains("load_balancer"))
      #expect(try await Self.members(test).map(\.nic) == [nil])
      // What rests is taken back by name: a row that changes.
      let other = NICID(UUID())
      try await test.database.execute(
        """
        WITH n AS (INSERT INTO nics (id, project_id, network_id, vm_id, position, mac)
                   SELECT \(other), project_id, network_id, \(machine), 9, '02:00:00:00:00:99' FROM nics LIMIT 1
                   RETURNING id)
        SELECT 1 FROM n
        """)
      try await test.database.execute(
        "SELECT aloft_take_that_address(subnet_id, '10.0.0.50', 'nic', \(other), '0') FROM router_interfaces")
      #expect(try await test.toldChanges().contains("load_balancer"))
    }
  }

  @Test("of a NIC with two addresses in a subnet the first is meant, wherever the NIC is named")
  func first() async throws {
    try await TestPlane.with { test async throws in
      let machine = try await Self.prepare(test)
      let nic = try await test.plugNIC(machine, subnet: "blue-v4", address: "10.0.0.6")
      try await test.database.execute(
        "INSERT INTO addresses (subnet_id, address, nic_id) SELECT subnet_id, '10.0.0.5', nic_id FROM addresses WHERE nic_id = \(nic)"
      )
      try await Self.balance(["nic": .string("\(nic)"), "port": 80], test)
      let shown = await test.call(.get, "/v1/load-balancers/web")
      #expect(shown["listeners"]?[0]?["members"]?[0]?["address"] == "10.0.0.5", "\(shown)")
      let told = try await Self.members(test)
      #expect(told.map { "\($0.address)" } == ["10.0.0.5"] && told.map(\.nic) == [nic], "\(told)")
      let floating = try await test.make("floating-ips", ["external_network": "internet", "nic": .string("\(nic)")])
      #expect(floating["fixed_address"] == "10.0.0.5", "\(floating)")
      let led = try await test.database.transaction(.snapshot) { try NetworkObjects.floatingIPs(.all, in: $0) }
      guard case .floatingIP(let object)? = led.first, led.count == 1 else {
        Issue.record("\(led)")
        return
      }
      #expect("\(object.fixedAddress)" == "10.0.0.5")
    }
  }

  @Test(
    "in a nearly full subnet an address is found by reading a few hundred rows; one that is full by reading it once")
  func nearlyFull() async throws {
    try await TestPlane.with { test async throws in
      let machine = try await Self.prepare(test)
      try await test.makeNetwork("large", "10.8.0.0/16")
      let id: SQL = "(SELECT id FROM subnets WHERE name = 'large-v4')"
      let nic = try await test.plugNIC(machine, subnet: "large-v4", address: "10.8.0.9")
      // All but each twentieth.
      try await test.database.execute(
        """
        INSERT INTO addresses (subnet_id, address, released_at)
        SELECT \(fragment: id), '10.8.0.0'::inet + i, aloft_now() + interval '1 day' FROM generate_series(1, 65533) i
         WHERE i % 20 <> 7
        ON CONFLICT DO NOTHING
        """)
      func take(_ seed: Int) async throws -> (address: String?, rows: Int) {
        // Of this connection, and not only of this transaction.
        let rows: SQL = """
          SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables WHERE relname = 'addresses'
          """
        return try await test.database.transaction { session in
          let before = try session.one(rows)?.get(0, as: Int.self) ?? 0
          let taken = try session.one(
            "SELECT host(aloft_take_address(\(fragment: id), \(seed)::bigint, 'nic', \(nic)))")
          let after = try session.one(rows)?.get(0, as: Int.self) ?? 0
          return (try taken?.get(0), after - before)
        }
      }
      var given: Set<String> = []
      for seed in 0..<40 {
        let (address, rows) = try await take(seed)
        #expect(rows < 1_000, "seed \(seed)")
        given.insert(try #require(address))
      }
      #expect(given.count == 40)
      // One that rests no longer is free, wherever it is.
      try await test.database.execute(
        """
        INSERT INTO addresses (subnet_id, address, released_at)
        SELECT \(fragment: id), '10.8.0.0'::inet + i, aloft_now() + interval '1 day' FROM generate_series(1, 65533) i
        ON CONFLICT DO NOTHING
        """)
      try await test.database.execute(
        "UPDATE addresses SET released_at = aloft_now() - interval '1 hour' WHERE address IN ('10.8.0.2', '10.8.255.253')"
      )
      #expect(try await Set([take(1).address, take(2).address]) == ["10.8.0.2", "10.8.255.253"])
      let (address, rows) = try await take(3)
      #expect(address == nil && rows < 66_500, "\(rows)")
    }
  }
}
