import AloftModel
import Foundation
import JSON
import Postgres
import TestSupport
import Testing

@testable import ControlPlane

@Suite("Networks and subnets")
struct NetworkTests {
  @Test("a network is made, changed and deleted, and leaves events")
  func nouns() async throws {
    try await TestPlane.with { test async throws in
      let made = await test.call(.post, "/v1/networks", ["name": "blue", "labels": ["team": "a"]])
      #expect(made.status == 201, "\(made)")
      let id = try #require(made["id"]?.stringValue)
      #expect(made["mtu"] == 1442 && made["dns_domain"] == "aloft.internal" && made["subnets"] == [])
      #expect(made.header("Location") == "/v1/networks/\(id)")
      let subnet = await test.call(
        .post, "/v1/subnets", ["name": "blue-v4", "network": "blue", "cidr": "10.0.0.0/24", "reserved": ["10.0.0.9"]])
      #expect(subnet.status == 201, "\(subnet)")
      #expect(subnet["gateway"] == "10.0.0.1" && subnet["configuration"] == "dhcp" && subnet["addresses_used"] == 0)
      #expect(subnet["pools"] == ["10.0.0.2-10.0.0.8", "10.0.0.10-10.0.0.253"])
      let six = await test.call(
        .post, "/v1/subnets", ["name": "blue-v6", "network": .string(id), "cidr": "fd00:1::/64", "gateway": .null])
      #expect(six["configuration"] == "slaac" && six["gateway"] == .null, "\(six)")
      let shown = await test.call(.get, "/v1/networks/blue")
      #expect(shown["subnets"]?.arrayValue?.compactMap { $0["cidr"]?.stringValue } == ["10.0.0.0/24", "fd00:1::/64"])
      #expect(await test.call(.get, "/v1/subnets?network=blue")["items"]?.arrayValue?.count == 2)
      #expect(await test.call(.get, "/v1/subnets?network=green")["items"] == [])
      let renamed = await test.call(
        .patch, "/v1/networks/blue", ["name": "navy", "mtu": 1400],
        headers: ["If-Match": try #require(shown.header("ETag"))])
      #expect(renamed["name"] == "navy" && renamed["mtu"] == 1400, "\(renamed)")
      #expect(await test.call(.patch, "/v1/networks/navy", ["mtu": 1443]).place == "/mtu")
      let told = await test.call(
        .patch, "/v1/subnets/blue-v4",
        ["dns_servers": ["192.0.2.53"], "host_routes": [["destination": "192.0.2.0/24", "next_hop": "10.0.0.7"]]])
      #expect(told["dns_servers"] == ["192.0.2.53"], "\(told)")
      #expect(told["host_routes"]?[0]?["next_hop"] == "10.0.0.7")
      #expect(await test.call(.delete, "/v1/subnets/blue-v6").status == 204)
      #expect(await test.call(.delete, "/v1/networks/navy").status == 204)
      #expect(await test.call(.get, "/v1/networks/\(id)").code == "not_found")
      #expect(
        try await test.eventKinds(try #require(NetworkID(id)).uuid) == [
          "network.created", "network.updated", "network.deleted",
        ])
      #expect(try await test.findings() == [])
    }
  }

  @Test("a subnet that cannot be is refused, and the refusal names the place and what would work")
  func refusals() async throws {
    try await TestPlane.with { test async throws in
      _ = await test.call(.post, "/v1/networks", ["name": "blue"])
      _ = await test.call(.post, "/v1/subnets", ["name": "first", "network": "blue", "cidr": "10.0.0.0/24"])
      let cases: [(JSONValue, String, String, String)] = [
        (["cidr": "10.0.1.1/24"], "bad_format", "/cidr", "10.0.1.0/24"),
        (["cidr": "10.0.1"], "bad_format", "/cidr", "/64"),
        (["cidr": "10.0.1.0"], "out_of_range", "/cidr", "/29"),
        (["cidr": "10.0.0.128/25"], "addresses_overlap", "/cidr", "first"),
        (["cidr": "10.0.0.0/8"], "addresses_overlap", "/cidr", "10.0.0.0/24"),
        (["cidr": "10.0.1.0/30"], "out_of_range", "/cidr", "/29"),
        (["cidr": "224.1.0.0/24"], "out_of_range", "/cidr", "224.0.0.0/3"),
        (["cidr": "10.0.1.0/24", "gateway": "10.0.2.1"], "out_of_range", "/gateway", "10.0.1.0/24"),
        (["cidr": "10.0.1.0/24", "gateway": "10.0.1.255"], "out_of_range", "/gateway", "10.0.1.255"),
        (
          ["cidr": "10.0.1.0/24", "gateway": "10.0.1.9", "pools": ["10.0.1.8-10.0.1.20"]], "out_of_range", "/pools/0",
          "10.0.1.9"
        ),
        (["cidr": "10.0.1.0/24", "pools": ["10.0.2.8"]], "out_of_range", "/pools/0", "10.0.2.8"),
        (["cidr": "10.0.1.0/24", "reserved": ["10.0.1.9-10.0.1.2"]], "bad_format", "/reserved/0", "10.0.0.10"),
        (["cidr": "10.0.1.0/29", "reserved": ["10.0.1.0-10.0.1.7"]], "out_of_range", "/reserved", "metadata"),
        (["cidr": "10.0.1.0/24", "configuration": "slaac"], "not_one_of", "/configuration", "/64"),
        (["cidr": "10.0.1.0/24", "dns_servers": ["fd00::1"]], "bad_format", "/dns_servers/0", "IPv4"),
        (
          ["cidr": "10.0.1.0/24", "host_routes": [["destination": "fd00::/64", "next_hop": "10.0.1.2"]]], "bad_format",
          "/host_routes/0/destination", "10.0.1.0/24"
        ),
        (
          ["cidr": "10.0.1.0/24", "host_routes": [["destination": "10.9.0.5/16", "next_hop": "10.0.1.2"]]],
          "bad_format",
          "/host_routes/0/destination", "10.9.0.0/16"
        ),
        (
          ["cidr": "fd00:1::/64", "host_routes": [["destination": "fd00:9::/64", "next_hop": "fd00:1::2"]]],
          "wrong_state", "/host_routes", "IPv4"
        ),
        (
          [
            "cidr": "10.0.1.0/24", "configuration": "none",
            "host_routes": [["destination": "10.9.0.0/16", "next_hop": "10.0.1.2"]],
          ], "wrong_state", "/host_routes", "DHCP"
        ),
        (["cidr": "10.0.1.0/24", "network": "green"], "not_found", "/network", "green"),
        (["cidr": "10.0.1.0/24", "name": "first"], "name_taken", "/name", "first"),
      ]
      for (changes, code, place, word) in cases {
        var body: JSONObject = ["name": "second", "network": "blue"]
        if case .object(let changes) = changes { for (key, value) in changes { body[key] = value } }
        let answer = await test.call(.post, "/v1/subnets", .object(body))
        #expect(answer.code == code && answer.place == place, "\(changes): \(answer)")
        #expect(answer["detail"]?.stringValue?.contains(word) == true, "\(answer)")
      }
    }
  }
}
