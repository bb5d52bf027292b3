import AloftModel
import Foundation
import IPAddressing
import JSON
import Postgres
import TestSupport
import Testing

@testable import ControlPlane

@Suite("Load balancers and peerings")
struct LoadBalancerTests {
  /// Two networks of one router.
  private static func prepare(_ test: TestPlane) async throws {
    try await test.makeNetwork("blue", "10.0.0.0/24", "fd00:1::/64")
    try await test.makeNetwork("green", "10.1.0.0/24")
    try await test.make("routers", ["name": "gate"])
    for subnet in ["blue-v4", "green-v4"] {
      #expect(await test.call(.put, "/v1/routers/gate/interfaces/\(subnet)").status == 200)
    }
  }

  @Test(
    "a load balancer has an address, leads to NICs and addresses that it reaches, and tries them from addresses of its own"
  )
  func nouns() async throws {
    try await TestPlane.with { test async throws in
      try await Self.prepare(test)
      let machine = try await test.makeMachine("one")
      let near = try await test.plugNIC(machine, subnet: "blue-v4", address: "10.0.0.7")
      let far = try await test.plugNIC(machine, subnet: "green-v4", address: "10.1.0.7")
      let members: JSONValue = [
        ["nic": .string("\(near)"), "port": 80], ["nic": .string("\(far)"), "port": 80],
        ["address": "10.1.0.99", "port": 81],
      ]
      let made = try await test.make(
        "load-balancers",
        [
          "name": "web", "subnet": "blue-v4", "address": "10.0.0.50",
          "listeners": [
            ["protocol": "tcp", "port": 443, "members": members, "health_check": ["interval_seconds": 2]],
            ["protocol": "udp", "port": 443],
          ],
        ])
      #expect(made["address"] == "10.0.0.50", "\(made)")
      let listener = try #require(made["listeners"]?[0])
      #expect(listener["health_check"]?["interval_seconds"] == 2 && listener["health_check"]?["failures"] == 3)
      #expect(
        listener["members"]?.arrayValue?.compactMap { $0["address"]?.stringValue } == [
          "10.0.0.7", "10.1.0.7", "10.1.0.99",
        ])
      #expect(made["listeners"]?[1]?["members"] == [] && made["listeners"]?[1]?["health_check"] == .null)
      // The address itself, and one in each subnet of members.
      let held: SQL = "SELECT count(*) FROM addresses WHERE load_balancer_id IS NOT NULL"
      #expect(try await test.count(held) == 3)
      let detached = await test.call(.delete, "/v1/routers/gate/interfaces/green-v4")
      #expect(detached.code == "in_use" && detached["detail"]?.stringValue?.contains("web") == true, "\(detached)")
      let removed = await test.call(.delete, "/v1/networks/blue")
      #expect(removed.code == "in_use", "\(removed)")
      _ = try await test.toldChanges()
      try await test.database.execute("DELETE FROM nics WHERE id = \(far)")
      #expect(try await test.toldChanges() == ["nic", "load_balancer"])
      #expect(
        await test.call(.get, "/v1/load-balancers/web")["listeners"]?[0]?["members"]?.arrayValue?.count == 2)
      let changed = await test.call(
        .patch, "/v1/load-balancers/web",
        [
          "name": "www",
          "listeners": [["protocol": "tcp", "port": 80, "members": [["address": "10.1.0.99", "port": 8]]]],
        ])
      #expect(changed["listeners"]?.arrayValue?.count == 1 && changed["name"] == "www", "\(changed)")
      #expect(try await test.count(held) == 1)
      let needed = await test.call(.delete, "/v1/networks/green")
      #expect(needed.code == "in_use", "\(needed)")
      #expect(await test.call(.patch, "/v1/load-balancers/www", ["listeners": []])["listeners"] == [])
      #expect(await test.call(.delete, "/v1/routers/gate/interfaces/green-v4").status == 204)
      #expect(await test.call(.delete, "/v1/load-balancers/www").status == 204)
      #expect(try await test.count(held) == 0)
    }
  }

  @Test("a load balancer that could not work is refused, and the refusal names the place and what would work")
  func refusals() async throws {
    try await TestPlane.with { test async throws in
      try await Self.prepare(test)
      #expect(await test.call(.put, "/v1/routers/gate/interfaces/blue-v6").status == 200)
      try await test.makeNetwork("alone", "10.2.0.0/24")
      let machine = try await test.makeMachine("one")
      let lost = JSONValue.string("\(try await test.plugNIC(machine, subnet: "alone-v4"))")
      func listening(_ members: JSONValue) -> JSONValue {
        ["listeners": [["protocol": "tcp", "port": 80, "members": members]]]
      }
      let member = "/listeners/0/members/0"
      let cases: [(JSONValue, String, String, String)] = [
        (["subnet": "nope"], "not_found", "/subnet", "nope"),
        (["address": "10.0.0.1"], "out_of_range", "/address", "10.0.0.2"),
        (["address": "10.1.0.9"], "out_of_range", "/address", "10.0.0.2"),
        (listening([["port": 80]]), "missing_field", member + "/nic", "address"),
        (
          listening([["port": 80, "nic": lost, "address": "10.0.0.9"]]), "out_of_range", member + "/address",
          "one of both"
        ),
        (listening([["port": 80, "nic": lost]]), "wrong_state", member + "/nic", "green-v4 (10.1.0.0/24)"),
        (listening([["port": 80, "nic": "web"]]), "not_found", member + "/nic", "nics"),
        (
          listening([["port": 80, "address": "10.2.0.9"]]), "out_of_range", member + "/address", "blue-v4 (10.0.0.0/24)"
        ),
        (listening([["port": 80, "address": "fd00:1::9"]]), "out_of_range", member + "/address", "blue-v4"),
        (
          listening([["port": 80, "address": "10.0.0.9"], ["port": 80, "address": "10.0.0.9"]]), "duplicate_item",
          "/listeners/0/members/1", "member 0"
        ),
        (
          ["listeners": [["protocol": "udp", "port": 53], ["protocol": "udp", "port": 53]]], "duplicate_item",
          "/listeners/1/port", "udp 53"
        ),
        (
          ["subnet": "blue-v6", "listeners": [["protocol": "udp", "port": 53, "health_check": [:]]]], "out_of_range",
          "/listeners/0/health_check", "IPv4"
        ),
      ]
      for (changes, code, place, word) in cases {
        var body: JSONObject = ["name": "web", "subnet": "blue-v4"]
        for (key, value) in changes.objectValue ?? [:] { body[key] = value }
        let answer = await test.call(.post, "/v1/load-balancers", .object(body))
        #expect(answer.code == code && answer.place == place, "\(changes): \(answer)")
        #expect(answer["detail"]?.stringValue?.contains(word) == true, "\(answer)")
      }
      #expect(try await test.count("SELECT count(*) FROM addresses WHERE load_balancer_id IS NOT NULL") == 0)
    }
  }

  @Test("a load balancer's subnet has a router, which answers for its address and stays as long as it")
  func routed() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeNetwork("blue", "10.0.0.0/24")
      let refused = await test.call(.post, "/v1/load-balancers", ["name": "web", "subnet": "blue-v4"])
      #expect(refused.code == "wrong_state" && refused.place == "/subnet", "\(refused)")
      #expect(refused["detail"]?.stringValue?.contains("has no router") == true, "\(refused)")
      try await test.make("routers", ["name": "gate"])
      #expect(await test.call(.put, "/v1/routers/gate/interfaces/blue-v4").status == 200)
      try await test.make("load-balancers", ["name": "web", "subnet": "blue-v4"])
      let kept = await test.call(.delete, "/v1/routers/gate/interfaces/blue-v4")
      #expect(kept.code == "in_use" && kept["detail"]?.stringValue?.contains("load balancer web") == true, "\(kept)")
      #expect(await test.call(.delete, "/v1/load-balancers/web").status == 204)
      #expect(await test.call(.delete, "/v1/routers/gate/interfaces/blue-v4").status == 204)
    }
  }

  @Test("two networks with routers of their own are peered, and from then on their routers' subnets may not overlap")
  func peerings() async throws {
    try await TestPlane.with { test async throws in
      try await Self.prepare(test)
      try await test.makeNetwork("red", "10.3.0.0/24")
      try await test.makeNetwork("same", "10.0.0.0/25")
      try await test.makeNetwork("bare", "10.5.0.0/24")
      for (name, subnet) in [("red-gate", "red-v4"), ("same-gate", "same-v4")] {
        try await test.make("routers", ["name": .string(name)])
        #expect(await test.call(.put, "/v1/routers/\(name)/interfaces/\(subnet)").status == 200)
      }
      let made = try await test.make(
        "network-peerings", ["name": "blue-red", "network": "blue", "peer_network": "red"])
      #expect(made["router_id"] != made["peer_router_id"], "\(made)")
      try await test.make("network-peerings", ["name": "green-red", "network": "green", "peer_network": "red"])
      #expect(try await test.count("SELECT count(DISTINCT link) FROM network_peerings") == 2)
      let cases: [(JSONValue, String, String, String)] = [
        (["network": "red", "peer_network": "blue"], "in_use", "/peer_network", "already"),
        (["network": "blue", "peer_network": "green"], "wrong_state", "/peer_network", "gate"),
        (["network": "blue", "peer_network": "blue"], "out_of_range", "/peer_network", "itself"),
        (["network": "bare", "peer_network": "blue"], "wrong_state", "/network", "no router"),
        (["network": "blue", "peer_network": "same"], "addresses_overlap", "/peer_network", "blue-v4 (10.0.0.0/24)"),
        (["network": "blue", "peer_network": "none"], "not_found", "/peer_network", "none"),
      ]
      for (wanted, code, place, word) in cases {
        var body: JSONObject = ["name": "other"]
        for (key, value) in wanted.objectValue ?? [:] { body[key] = value }
        let answer = await test.call(.post, "/v1/network-peerings", .object(body))
        #expect(answer.code == code && answer.place == place, "\(wanted): \(answer)")
        #expect(answer["detail"]?.stringValue?.contains(word) == true, "\(answer)")
      }
      // What the one side reaches, the other may not have beside it.
      try await test.make("subnets", ["name": "red-2", "network": "red", "cidr": "10.1.0.0/16"])
      try await test.make("subnets", ["name": "red-3", "network": "red", "cidr": "10.8.0.0/16"])
      let overlapping = await test.call(.put, "/v1/routers/red-gate/interfaces/red-2")
      #expect(overlapping.code == "addresses_overlap", "\(overlapping)")
      _ = try await test.toldChanges()
      #expect(await test.call(.put, "/v1/routers/red-gate/interfaces/red-3").status == 200)
      #expect(try await test.toldChanges() == ["router", "network", "peering"])
      let needed = await test.call(.delete, "/v1/routers/gate/interfaces/blue-v4")
      #expect(needed.code == "in_use" && needed["detail"]?.stringValue?.contains("blue-red") == true, "\(needed)")
      #expect(await test.call(.delete, "/v1/routers/red-gate/interfaces/red-3").status == 204)
      #expect(await test.call(.delete, "/v1/networks/blue").code == "in_use")
      #expect(await test.call(.patch, "/v1/network-peerings/blue-red", ["name": "br"])["name"] == "br")
      #expect(await test.call(.delete, "/v1/network-peerings/br").status == 204)
      #expect(await test.call(.delete, "/v1/projects/default?cascade=true").status == 202)
      try await test.settle()
      #expect(await test.call(.get, "/v1/projects/default").code == "not_found")
      #expect(try await test.findings() == [])
    }
  }

  @Test("the ends of a link have addresses of their own in blocks that subnets are kept out of")
  func links() throws {
    let link = PeeringLink(number: 8191)
    #expect(
      link.addresses(of: 0).map { "\($0.address)/\($0.prefixLength)" } == [
        "169.254.255.253/30", "fd41:6c6f:6674::7ffd/126",
      ])
    let skipped = PeeringLink(number: PeeringLink.metadataNumber).addresses(of: 1)
    #expect(skipped.first.map { "\($0.address)" } == "169.254.169.254")
    #expect(link.addresses(of: 1).map { "\($0.address)" } == ["169.254.255.254", "fd41:6c6f:6674::7ffe"])
    for block in ["169.254.200.0/24", "fd41:6c6f:6674:1::/64"] {
      #expect(throws: Problem.self) { try SubnetPlan(SubnetPlan.Wish(cidr: block)) }
    }
  }
}
