import AloftModel
import Foundation
import JSON
import Postgres
import TestSupport
import Testing

@testable import ControlPlane

@Suite("Routers and external networks")
struct RouterTests {
  @Test("an operator makes a way out and gives it addresses; everybody sees it, nobody else changes it")
  func externalNetworks() async throws {
    try await TestPlane.with { test async throws in
      let made = try await test.make(
        "external-networks", ["name": "internet", "physical_network": "public", "vlan": 7, "labels": ["a": "b"]])
      #expect(made["mtu"] == 1500 && made["vlan"] == 7, "\(made)")
      let id = try #require(made["id"]?.stringValue)
      #expect(made.header("Location") == "/v1/external-networks/\(id)")
      let subnet = try await test.make(
        "external-networks/internet/subnets",
        ["name": "v4", "cidr": "203.0.113.0/24", "pools": ["203.0.113.10-203.0.113.19"]])
      #expect(subnet["gateway"] == "203.0.113.1" && subnet["external_network_id"]?.stringValue == id, "\(subnet)")
      #expect(
        subnet.header("Location") == "/v1/external-networks/\(id)/subnets/\(try #require(subnet["id"]?.stringValue))")
      let member = TestPlane.bearer(try await test.makeToken(["default": .member]))
      let seen = await test.call(.get, "/v1/external-networks", headers: member)
      #expect(seen["items"]?[0]?["subnets"]?[0]?["cidr"] == "203.0.113.0/24", "\(seen)")
      #expect(await test.call(.get, "/v1/external-networks/internet/subnets/v4", headers: member).status == 200)
      #expect(await test.call(.delete, "/v1/external-networks/internet", headers: member).code == "forbidden")
      let same = await test.call(
        .post, "/v1/external-networks", ["name": "other", "physical_network": "public", "vlan": 7])
      #expect(same.code == "in_use" && same.place == "/vlan", "\(same)")
      try await test.make("external-networks", ["name": "other", "physical_network": "public"])
      #expect(await test.call(.get, "/v1/external-networks/other/subnets/v4").code == "not_found")
      #expect(await test.call(.delete, "/v1/external-networks/other/subnets/v4").code == "not_found")
      #expect(
        await test.call(.patch, "/v1/external-networks/other", ["name": "third", "mtu": 9000])["mtu"] == 9000)
      try await test.make("routers", ["name": "gate", "external_network": "internet"])
      for target in ["internet", "internet/subnets/v4"] {
        let used = await test.call(.delete, "/v1/external-networks/\(target)")
        #expect(used.code == "in_use" && used["detail"]?.stringValue?.contains("1 ") == true, "\(used)")
      }
      #expect(await test.call(.delete, "/v1/routers/gate").status == 204)
      #expect(await test.call(.delete, "/v1/external-networks/internet/subnets/v4").status == 204)
      #expect(await test.call(.delete, "/v1/external-networks/internet").status == 204)
    }
  }

  @Test("a router connects subnets, leads out with an address of each family, and has routes by its neighbours")
  func nouns() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeInternet()
      try await test.make(
        "external-networks/internet/subnets", ["name": "internet-v6", "cidr": "2001:db8:0:1::/64"])
      try await test.makeNetwork("blue", "10.0.0.0/24", "fd00:1::/64")
      let made = try await test.make("routers", ["name": "gate", "external_network": "internet"])
      let addresses = made["external_addresses"]?.arrayValue?.compactMap(\.stringValue) ?? []
      #expect(addresses.count == 2 && addresses[0].hasPrefix("203.0.113.1"), "\(made)")
      _ = try await test.toldChanges()
      for subnet in ["blue-v4", "blue-v6", "blue-v4"] {
        let attached = await test.call(.put, "/v1/routers/gate/interfaces/\(subnet)")
        #expect(attached.status == 200, "\(attached)")
      }
      #expect(try await test.toldChanges() == ["router", "network"])
      let shown = await test.call(.get, "/v1/routers/gate")
      let ports = try #require(shown["interfaces"]?.arrayValue)
      #expect(ports.compactMap { $0["address"]?.stringValue } == ["10.0.0.1", "fd00:1::1"], "\(shown)")
      #expect(ports[0]["mac"] == ports[1]["mac"])
      #expect(await test.call(.get, "/v1/subnets/blue-v4")["addresses_used"] == 1)
      let routed = await test.call(
        .patch, "/v1/routers/gate",
        ["snat": false, "routes": [["destination": "172.16.0.0/12", "next_hop": "10.0.0.9"]]],
        headers: ["If-Match": try #require(shown.header("ETag"))])
      #expect(routed["snat"] == false && routed["routes"]?[0]?["next_hop"] == "10.0.0.9", "\(routed)")
      #expect(await test.call(.delete, "/v1/routers/gate/interfaces/blue-v4").code == "in_use")
      let inside = await test.call(.patch, "/v1/routers/gate", ["external_network": .null, "routes": []])
      #expect(inside["external_network_id"] == .null && inside["external_addresses"] == [], "\(inside)")
      #expect(try await test.count("SELECT count(*) FROM addresses WHERE router_id IS NOT NULL") == 2)
      let kept = await test.call(.delete, "/v1/routers/gate")
      #expect(kept.code == "in_use" && kept["detail"]?.stringValue?.contains("blue-v4") == true, "\(kept)")
      let network = await test.call(.delete, "/v1/networks/blue")
      #expect(network["detail"]?.stringValue?.contains("router gate") == true, "\(network)")
      let subnet = await test.call(.delete, "/v1/subnets/blue-v4")
      #expect(subnet["detail"]?.stringValue?.contains("router gate") == true, "\(subnet)")
      for subnet in ["blue-v4", "blue-v6"] {
        #expect(await test.call(.delete, "/v1/routers/gate/interfaces/\(subnet)").status == 204)
      }
      #expect(await test.call(.delete, "/v1/routers/gate/interfaces/blue-v4").code == "not_found")
      #expect(await test.call(.delete, "/v1/routers/gate").status == 204)
      #expect(await test.call(.delete, "/v1/networks/blue").status == 204)
      #expect(try await test.count("SELECT count(*) FROM addresses WHERE released_at IS NULL") == 0)
    }
  }

  @Test("a router that cannot be is refused, and the refusal names the obstacle")
  func refusals() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeInternet()
      try await test.make("external-networks", ["name": "empty", "physical_network": "empty"])
      try await test.makeNetwork("blue", "10.0.0.0/24")
      try await test.makeNetwork("green", "10.0.0.0/16")
      try await test.makeNetwork("out", "203.0.113.128/25")
      try await test.make("subnets", ["name": "closed", "network": "blue", "cidr": "10.9.0.0/24", "gateway": .null])
      try await test.make("routers", ["name": "gate", "external_network": "internet"])
      try await test.make("routers", ["name": "other"])
      #expect(await test.call(.put, "/v1/routers/gate/interfaces/blue-v4").status == 200)
      let attachments: [(String, String, String)] = [
        ("gate/interfaces/green-v4", "addresses_overlap", "blue-v4"), ("other/interfaces/blue-v4", "in_use", "gate"),
        ("gate/interfaces/out-v4", "addresses_overlap", "internet-v4"),
        ("gate/interfaces/closed", "wrong_state", "no gateway"), ("gate/interfaces/nope", "not_found", "nope"),
      ]
      for (target, code, word) in attachments {
        let answer = await test.call(.put, "/v1/routers/\(target)")
        #expect(answer.code == code, "\(target): \(answer)")
        #expect(answer["detail"]?.stringValue?.contains(word) == true, "\(answer)")
      }
      #expect(await test.call(.put, "/v1/routers/other/interfaces/out-v4").status == 200)
      let changes: [(JSONValue, String, String, String)] = [
        (["external_network": "nope"], "not_found", "/external_network", "nope"),
        (["external_network": "empty"], "wrong_state", "/external_network", "subnet"),
        (["external_network": "internet"], "addresses_overlap", "/external_network", "out-v4"),
        (
          ["routes": [["destination": "10.1.0.0/16", "next_hop": "10.1.0.1"]]], "out_of_range", "/routes/0/next_hop",
          "203.0.113.128/25"
        ),
        (
          ["routes": [["destination": "10.1.0.1/16", "next_hop": "203.0.113.200"]]], "bad_format",
          "/routes/0/destination", "10.1.0.0/16"
        ),
        (
          ["routes": [["destination": "10.1.0.0/16", "next_hop": "203.0.113.129"]]], "out_of_range",
          "/routes/0/next_hop", "own"
        ),
        (
          [
            "routes": [
              ["destination": "10.1.0.0/16", "next_hop": "203.0.113.200"],
              ["destination": "10.1.0.0/16", "next_hop": "203.0.113.201"],
            ]
          ], "duplicate_item", "/routes/1/destination", "10.1.0.0/16"
        ),
      ]
      for (body, code, place, word) in changes {
        let answer = await test.call(.patch, "/v1/routers/other", body)
        #expect(answer.code == code && answer.place == place, "\(body): \(answer)")
        #expect(answer["detail"]?.stringValue?.contains(word) == true, "\(answer)")
      }
      // Nothing of what was refused stays.
      let shown = await test.call(.get, "/v1/routers/other")
      #expect(shown["external_network_id"] == .null && shown["routes"] == [], "\(shown)")
      #expect(await test.call(.put, "/v1/projects/default/quotas", ["routers": 2]).status == 200)
      #expect(await test.call(.post, "/v1/routers", ["name": "third"]).code == "quota_exceeded")
    }
  }

  @Test("an external network without a free address says so, with the subnet and how many are in use")
  func exhaustion() async throws {
    try await TestPlane.with { test async throws in
      try await test.make("external-networks", ["name": "small", "physical_network": "public"])
      try await test.make(
        "external-networks/small/subnets", ["name": "few", "cidr": "203.0.113.0/24", "pools": ["203.0.113.9"]])
      try await test.make("routers", ["name": "one", "external_network": "small"])
      let answer = await test.call(.post, "/v1/routers", ["name": "two", "external_network": "small"])
      #expect(answer.code == "addresses_exhausted" && answer.place == "/external_network", "\(answer)")
      #expect(answer["detail"]?.stringValue?.contains("few (203.0.113.0/24)") == true, "\(answer)")
      #expect(answer["detail"]?.stringValue?.contains("1 are in use") == true, "\(answer)")
    }
  }

  @Test(
    "a router has one way to a block: no route to what it connects or reaches by a peering, nor the other way round")
  func doubledWays() async throws {
    try await TestPlane.with { test async throws in
      for (name, cidr) in [("blue", "10.0.0.0/24"), ("red", "10.3.0.0/24")] {
        try await test.makeNetwork(name, cidr)
        try await test.make("routers", ["name": .string(name + "-gate")])
        #expect(await test.call(.put, "/v1/routers/\(name)-gate/interfaces/\(name)-v4").status == 200)
      }
      try await test.make("subnets", ["name": "red-2", "network": "red", "cidr": "10.4.0.0/24"])
      func route(_ destination: String, _ router: String, by hop: String) async -> Answer {
        await test.call(
          .patch, "/v1/routers/\(router)",
          ["routes": [["destination": .string(destination), "next_hop": .string(hop)]]])
      }
      func refused(_ answer: Answer, _ place: String?, _ word: String) {
        #expect(answer.code == "addresses_overlap" && answer.place == place, "\(answer)")
        #expect(answer["detail"]?.stringValue?.contains(word) == true, "\(answer)")
      }
      refused(await route("10.0.0.0/24", "blue-gate", by: "10.0.0.9"), "/routes/0/destination", "blue-v4")
      #expect(await route("10.3.0.0/24", "blue-gate", by: "10.0.0.9").status == 200)
      let peering: JSONValue = ["name": "p", "network": "blue", "peer_network": "red"]
      refused(await test.call(.post, "/v1/network-peerings", peering), "/peer_network", "10.0.0.9")
      // What is longer or shorter is another block.
      #expect(await route("10.3.0.0/25", "blue-gate", by: "10.0.0.9").status == 200)
      try await test.make("network-peerings", peering)
      refused(await route("10.3.0.0/24", "blue-gate", by: "10.0.0.9"), "/routes/0/destination", "peering")
      #expect(await route("10.4.0.0/24", "blue-gate", by: "10.0.0.9").status == 200)
      refused(await test.call(.put, "/v1/routers/red-gate/interfaces/red-2"), nil, "blue-gate")
      #expect(await test.call(.patch, "/v1/routers/blue-gate", ["routes": []]).status == 200)
      #expect(await test.call(.put, "/v1/routers/red-gate/interfaces/red-2").status == 200)
    }
  }

  @Test("an external network that gets a second family gives routers an address of it when they are led there again")
  func secondFamily() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeInternet()
      try await test.make("routers", ["name": "gate", "external_network": "internet"])
      try await test.make(
        "external-networks/internet/subnets", ["name": "internet-v6", "cidr": "2001:db8:0:1::/64"])
      func addresses(_ answer: Answer) -> [String] {
        answer["external_addresses"]?.arrayValue?.compactMap(\.stringValue) ?? []
      }
      let before = addresses(await test.call(.get, "/v1/routers/gate"))
      _ = try await test.toldChanges()
      let again = await test.call(.patch, "/v1/routers/gate", ["external_network": "internet"])
      #expect(addresses(again).count == 2 && addresses(again).first == before.first, "\(again)")
      #expect(try await test.toldChanges().contains("router"))
      let third = await test.call(.patch, "/v1/routers/gate", ["external_network": "internet"])
      #expect(addresses(third) == addresses(again))
    }
  }

  @Test("a NIC that has a subnet's gateway keeps a router out of it")
  func gatewayTaken() async throws {
    try await TestPlane.with { test async throws in
      let machine = try await test.makeMachine("one")
      try await test.makeNetwork("blue", "10.0.0.0/24")
      _ = try await test.plugNIC(machine, subnet: "blue-v4", address: "10.0.0.1")
      try await test.make("routers", ["name": "gate"])
      let answer = await test.call(.put, "/v1/routers/gate/interfaces/blue-v4")
      #expect(answer.code == "address_taken", "\(answer)")
      #expect(answer["detail"]?.stringValue?.contains("VM one") == true, "\(answer)")
    }
  }
}
