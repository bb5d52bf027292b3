import AloftModel
import Foundation
import HTTPTypes
import JSON
import TestSupport
import Testing

@testable import ControlPlane

/// What many want of the same routers, floating IPs and networks at once, of two replicas. Whoever cannot have it is told why.
@Suite("Races for routers, floating IPs and peerings")
struct NetworkContentionTests {
  private struct Wish: Sendable {
    var method: HTTPRequest.Method
    var target: String
    var body: JSONValue?

    init(_ method: HTTPRequest.Method, _ target: String, _ body: JSONValue? = nil) {
      self.method = method
      self.target = "/v1/" + target
      self.body = body
    }
  }

  /// All at once; the answers in the order of the wishes. None may be an error of ours.
  private static func all(_ wishes: [Wish], _ test: TestPlane) async throws -> [Answer] {
    let replicas = [test.plane, try test.replica()]
    let answers = await withTaskGroup(of: (Int, Answer).self) { group in
      for (number, wish) in wishes.enumerated() {
        group.addTask {
          (number, await test.call(wish.method, wish.target, wish.body, on: replicas[number % 2]))
        }
      }
      return await group.reduce(into: []) { $0.append($1) }
    }
    let sorted = answers.sorted { $0.0 < $1.0 }.map(\.1)
    for (wish, answer) in zip(wishes, sorted) where answer.status >= 500 {
      Issue.record("\(wish.method) \(wish.target): \(answer)")
    }
    return sorted
  }

  @Test("floating IPs that are moved between NICs at once, while the ways out come and go, are each in one place")
  func floatingIPs() async throws {
    try await TestPlane.with(poolSize: 12) { test async throws in
      try await test.makeInternet()
      try await test.makeNetwork("blue", "10.0.0.0/24")
      try await test.makeNetwork("green", "10.1.0.0/24")
      try await test.make("routers", ["name": "gate", "external_network": "internet"])
      for subnet in ["blue-v4", "green-v4"] {
        #expect(await test.call(.put, "/v1/routers/gate/interfaces/\(subnet)").status == 200)
      }
      let machine = try await test.makeMachine("one")
      var nics: [JSONValue] = []
      for number in 0..<4 {
        nics.append(
          .string("\(try await test.plugNIC(machine, subnet: number < 3 ? "blue-v4" : "green-v4", address: nil))"))
      }
      var floating: [String] = []
      for _ in 0..<3 {
        floating.append(
          try #require(
            try await test.make("floating-ips", ["external_network": "internet"])["id"]?.stringValue))
      }
      for round in 0..<4 {
        var wishes: [Wish] = []
        for number in 0..<24 {
          let nic = number % 6 == 5 ? JSONValue.null : nics[(number + round) % nics.count]
          wishes.append(Wish(.patch, "floating-ips/\(floating[number % floating.count])", ["nic": nic]))
        }
        wishes += [
          Wish(.delete, "routers/gate/interfaces/green-v4"), Wish(.put, "routers/gate/interfaces/green-v4"),
          Wish(.patch, "routers/gate", ["external_network": .null]),
          Wish(.patch, "routers/gate", ["external_network": "internet"]),
          Wish(.post, "floating-ips", ["external_network": "internet", "nic": nics[round]]),
        ]
        let answers = try await Self.all(wishes, test)
        #expect(
          answers.allSatisfy {
            [200, 201, 204].contains($0.status)
              || ["in_use", "wrong_state", "not_found", "addresses_exhausted", "address_taken"].contains($0.code)
          }, "\(answers)")
        #expect(try await test.findings() == [])
      }
    }
  }

  @Test("a subnet that is attached, given to a load balancer and deleted at once is there with all of it, or gone")
  func deletedSubnets() async throws {
    try await TestPlane.with(poolSize: 12) { test async throws in
      try await test.makeInternet()
      try await test.make("routers", ["name": "gate"])
      for round in 0..<6 {
        let names = (0..<4).map { "n\(round)-\($0)" }
        for (number, name) in names.enumerated() { try await test.makeNetwork(name, "10.\(round).\(number).0/24") }
        let wishes = names.enumerated().flatMap { number, name -> [Wish] in
          [
            Wish(.put, "routers/gate/interfaces/\(name)-v4"),
            Wish(.post, "load-balancers", ["name": .string(name), "subnet": .string(name + "-v4")]),
            Wish(.delete, number % 2 == 0 ? "subnets/\(name)-v4" : "networks/\(name)"),
          ]
        }
        let answers = try await Self.all(wishes, test)
        #expect(
          answers.allSatisfy {
            [200, 201, 204].contains($0.status) || ["in_use", "wrong_state", "not_found"].contains($0.code)
          }, "\(answers)")
        #expect(try await test.findings() == [])
      }
    }
  }

  @Test("an external network that is deleted while routers and floating IPs come to it goes without them, or stays")
  func deletedWaysOut() async throws {
    try await TestPlane.with(poolSize: 12) { test async throws in
      for round in 0..<6 {
        try await test.make("external-networks", ["name": "out", "physical_network": "public"])
        try await test.make("external-networks/out/subnets", ["name": "out-v4", "cidr": "203.0.113.0/24"])
        let router = JSONValue.string("r\(round)")
        let answers = try await Self.all(
          [
            Wish(.post, "routers", ["name": router, "external_network": "out"]),
            Wish(.post, "floating-ips", ["external_network": "out"]),
            Wish(.delete, round % 2 == 0 ? "external-networks/out" : "external-networks/out/subnets/out-v4"),
            Wish(.post, "floating-ips", ["external_network": "out"]),
          ], test)
        #expect(
          answers.allSatisfy {
            [200, 201, 204].contains($0.status)
              || ["in_use", "wrong_state", "not_found", "addresses_exhausted"].contains($0.code)
          }, "\(answers)")
        #expect(try await test.findings() == [])
        _ = await test.call(.delete, "/v1/routers/r\(round)")
        for item in await test.call(.get, "/v1/floating-ips")["items"]?.arrayValue ?? [] {
          _ = await test.call(.delete, "/v1/floating-ips/\(item["id"]?.stringValue ?? "")")
        }
        _ = await test.call(.delete, "/v1/external-networks/out")
      }
    }
  }

  @Test("of overlapping subnets that come to one router, or to two that are linked, at once, one does")
  func overlaps() async throws {
    try await TestPlane.with(poolSize: 12) { test async throws in
      try await test.make("routers", ["name": "gate"])
      let names = (0..<8).map { "n\($0)" }
      for (number, name) in names.enumerated() {
        try await test.makeNetwork(name, number % 2 == 0 ? "10.0.0.0/24" : "10.0.0.0/16")
      }
      let answers = try await Self.all(names.map { Wish(.put, "routers/gate/interfaces/\($0)-v4") }, test)
      #expect(answers.count { $0.status == 200 } == 1)
      #expect(answers.count { $0.code == "addresses_overlap" } == names.count - 1, "\(answers)")

      for side in ["left", "right"] {
        let block = side == "left" ? "172.16.0.0/24" : "172.17.0.0/24"
        try await test.makeNetwork(side, block)
        try await test.make("routers", ["name": .string(side)])
        #expect(await test.call(.put, "/v1/routers/\(side)/interfaces/\(side)-v4").status == 200)
      }
      try await test.make("network-peerings", ["name": "link", "network": "left", "peer_network": "right"])
      for round in 0..<5 {
        for side in ["left", "right"] {
          try await test.make(
            "subnets",
            ["name": .string("\(side)-\(round)"), "network": .string(side), "cidr": .string("10.\(round + 1).0.0/24")])
        }
        let both = try await Self.all(
          ["left", "right"].map { Wish(.put, "routers/\($0)/interfaces/\($0)-\(round)") }, test)
        #expect(both.count { $0.status == 200 } == 1, "\(both)")
        #expect(both.count { $0.code == "addresses_overlap" } == 1, "\(both)")
      }
      #expect(try await test.findings() == [])
    }
  }

  @Test("a peering that both sides make at once is made once, and links that come at once have blocks of their own")
  func peerings() async throws {
    try await TestPlane.with(poolSize: 12) { test async throws in
      let names = ["hub"] + (0..<6).map { "n\($0)" }
      for (number, name) in names.enumerated() {
        try await test.makeNetwork(name, "10.\(number).0.0/24")
        try await test.make("routers", ["name": .string(name)])
        #expect(await test.call(.put, "/v1/routers/\(name)/interfaces/\(name)-v4").status == 200)
      }
      let ends = names.dropFirst().flatMap { [("hub", $0), ($0, "hub")] }
      let answers = try await Self.all(
        ends.map { near, far in
          Wish(
            .post, "network-peerings",
            ["name": .string("\(near)-\(far)"), "network": .string(near), "peer_network": .string(far)])
        }, test)
      #expect(answers.count { $0.status == 201 } == 6)
      #expect(answers.count { $0.code == "in_use" && $0.place == "/peer_network" } == 6, "\(answers)")
      #expect(try await test.count("SELECT count(DISTINCT link) FROM network_peerings") == 6)
      #expect(try await test.findings() == [])
      // The router of a side goes to another one meanwhile.
      try await test.make("routers", ["name": "next"])
      for round in 0..<5 {
        let (from, to) = round % 2 == 0 ? ("n0", "next") : ("next", "n0")
        for item in await test.call(.get, "/v1/network-peerings")["items"]?.arrayValue ?? [] {
          _ = await test.call(.delete, "/v1/network-peerings/\(item["id"]?.stringValue ?? "")")
        }
        for router in ["n0", "next"] { _ = await test.call(.delete, "/v1/routers/\(router)/interfaces/n0-v4") }
        #expect(await test.call(.put, "/v1/routers/\(from)/interfaces/n0-v4").status == 200)
        let answers = try await Self.all(
          [
            Wish(.delete, "routers/\(from)/interfaces/n0-v4"),
            Wish(.post, "network-peerings", ["name": "a", "network": "hub", "peer_network": "n0"]),
            Wish(.put, "routers/\(to)/interfaces/n0-v4"),
            Wish(.post, "network-peerings", ["name": "b", "network": "n0", "peer_network": "n1"]),
          ], test)
        // The gateway's address may just be on its way back.
        let refusals = ["in_use", "wrong_state", "address_taken"]
        #expect(answers.allSatisfy { $0.status < 300 || refusals.contains($0.code ?? "") }, "\(answers)")
        #expect(try await test.findings() == [])
      }
    }
  }
}
