import AloftModel
import Foundation
import JSON
import Postgres
import TestSupport
import Testing

@testable import ControlPlane

@Suite("Floating IPs")
struct FloatingIPTests {
  /// A network whose router leads to the Internet.
  private static func prepare(_ test: TestPlane) async throws {
    try await test.makeInternet()
    try await test.makeNetwork("blue", "10.0.0.0/24")
    try await test.make("routers", ["name": "gate", "external_network": "internet"])
    #expect(await test.call(.put, "/v1/routers/gate/interfaces/blue-v4").status == 200)
  }

  @Test("a floating IP leads to a NIC, moves to another in one change, and survives both")
  func moves() async throws {
    try await TestPlane.with { test async throws in
      try await Self.prepare(test)
      let machine = try await test.makeMachine("one")
      let first = try await test.plugNIC(machine, subnet: "blue-v4", address: "10.0.0.7")
      let second = try await test.plugNIC(machine, subnet: "blue-v4", address: "10.0.0.8")
      let made = try await test.make(
        "floating-ips",
        ["external_network": "internet", "address": "203.0.113.12", "nic": .string("\(first)"), "labels": ["a": "b"]])
      #expect(made["address"] == "203.0.113.12" && made["fixed_address"] == "10.0.0.7", "\(made)")
      #expect(made["vm_id"]?.stringValue == "\(machine)" && made["router_id"] != .null)
      let id = try #require(made["id"]?.stringValue)
      #expect(made.header("Location") == "/v1/floating-ips/\(id)")
      _ = try await test.toldChanges()
      let moved = await test.call(
        .patch, "/v1/floating-ips/\(id)", ["nic": .string("\(second)")],
        headers: ["If-Match": try #require(made.header("ETag"))])
      #expect(moved["nic_id"]?.stringValue == "\(second)" && moved["fixed_address"] == "10.0.0.8", "\(moved)")
      #expect(try await test.toldChanges() == ["floating_ip"])
      let labelled = await test.call(.patch, "/v1/floating-ips/\(id)", ["labels": [:]])
      #expect(labelled["nic_id"] == moved["nic_id"] && labelled["labels"] == [:], "\(labelled)")
      for filter in ["address=203.0.113.12", "nic=\(second)", "external_network=internet"] {
        #expect(await test.call(.get, "/v1/floating-ips?\(filter)")["items"]?.arrayValue?.count == 1, "\(filter)")
      }
      for filter in ["address=203.0.113.13", "nic=\(first)", "external_network=none"] {
        #expect(await test.call(.get, "/v1/floating-ips?\(filter)")["items"] == [], "\(filter)")
      }
      // The NIC goes, the address stays the project's.
      try await test.database.execute("DELETE FROM nics WHERE id = \(second)")
      #expect(try await test.toldChanges().contains("floating_ip"))
      let left = await test.call(.get, "/v1/floating-ips/\(id)")
      #expect(left["nic_id"] == .null && left["router_id"] == .null && left["address"] == "203.0.113.12", "\(left)")
      #expect(await test.call(.patch, "/v1/floating-ips/\(id)", ["nic": .string("\(first)")]).status == 200)
      #expect(await test.call(.patch, "/v1/floating-ips/\(id)", ["nic": .null])["nic_id"] == .null)
      #expect(await test.call(.delete, "/v1/floating-ips/\(id)").status == 204)
      #expect(try await test.count("SELECT count(*) FROM addresses WHERE floating_ip_id IS NOT NULL") == 0)
    }
  }

  @Test("a floating IP that could not work is refused, and the refusal says what would")
  func refusals() async throws {
    try await TestPlane.with { test async throws in
      try await Self.prepare(test)
      try await test.make("external-networks", ["name": "empty", "physical_network": "empty"])
      for (name, cidr) in [("alone", "10.1.0.0/24"), ("inner", "10.2.0.0/24"), ("six", "fd00:6::/64")] {
        try await test.makeNetwork(name, cidr)
      }
      try await test.make("routers", ["name": "inside"])
      #expect(await test.call(.put, "/v1/routers/inside/interfaces/inner-v4").status == 200)
      let machine = try await test.makeMachine("one")
      var nics: [String: JSONValue] = [:]
      for subnet in ["blue-v4", "alone-v4", "inner-v4", "six-v6"] {
        nics[subnet] = .string("\(try await test.plugNIC(machine, subnet: subnet))")
      }
      try await test.make("floating-ips", ["external_network": "internet", "nic": nics["blue-v4"] ?? .null])
      let cases: [(JSONValue, String, String, String)] = [
        (["nic": nics["alone-v4"] ?? .null], "wrong_state", "/nic", "alone-v4, which has no router"),
        (["nic": nics["inner-v4"] ?? .null], "wrong_state", "/nic", "router inside to internet"),
        (["nic": nics["six-v6"] ?? .null], "wrong_state", "/nic", "IPv4"),
        (["nic": nics["blue-v4"] ?? .null], "in_use", "/nic", "203.0.113.1"),
        (["nic": "nic_00000000000000000000000000"], "not_found", "/nic", "nic_0"),
        (["address": "203.0.113.30"], "out_of_range", "/address", "203.0.113.10-203.0.113.19"),
        (["address": "203.0.113.300"], "bad_format", "/address", "no IP address"),
        (["external_network": "empty"], "wrong_state", "/external_network", "operator"),
        (["external_network": "nope"], "not_found", "/external_network", "nope"),
      ]
      for (changes, code, place, word) in cases {
        var body: JSONObject = ["external_network": "internet"]
        for (key, value) in changes.objectValue ?? [:] { body[key] = value }
        let answer = await test.call(.post, "/v1/floating-ips", .object(body))
        #expect(answer.code == code && answer.place == place, "\(changes): \(answer)")
        #expect(answer["detail"]?.stringValue?.contains(word) == true, "\(answer)")
      }
      let taken = await test.call(.get, "/v1/floating-ips")["items"]?[0]?["address"] ?? .null
      let again = await test.call(.post, "/v1/floating-ips", ["external_network": "internet", "address": taken])
      #expect(again.code == "address_taken" && again.place == "/address", "\(again)")
      let detached = await test.call(.delete, "/v1/routers/gate/interfaces/blue-v4")
      #expect(
        detached.code == "in_use" && detached["detail"]?.stringValue?.contains("203.0.113.1") == true, "\(detached)")
      let left = await test.call(.patch, "/v1/routers/gate", ["external_network": .null])
      #expect(left.code == "in_use" && left.place == "/external_network", "\(left)")
      #expect(try await test.count("SELECT count(*) FROM floating_ips") == 1)
    }
  }

  @Test("floating IPs and routers go with their project")
  func removal() async throws {
    try await TestPlane.with { test async throws in
      try await Self.prepare(test)
      try await test.make("floating-ips", ["external_network": "internet"])
      let refused = await test.call(.delete, "/v1/projects/default")
      #expect(refused["detail"]?.stringValue?.contains("1 network, 1 router, 1 floating IP") == true, "\(refused)")
      #expect(await test.call(.delete, "/v1/projects/default?cascade=true").status == 202)
      try await test.settle()
      #expect(await test.call(.get, "/v1/projects/default").code == "not_found")
      #expect(await test.call(.delete, "/v1/external-networks/internet").status == 204)
      #expect(try await test.findings() == [])
    }
  }
}
