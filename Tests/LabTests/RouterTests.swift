import Foundation
import JSON
import TestSupport
import Testing

extension LabTests {
  /// Between networks and out of the cloud, by packets of real guests.
  @Suite(.timeLimit(.minutes(5)))
  struct RouterTests {
    @Test("a router carries packets between its subnets, across nodes, for IPv4")
    func routing() async throws {
      let topology = try await Topology.shared()
      try await topology.red1.pings(Topology.green, becomes: true)
      #expect(try await topology.red1.fetch(Topology.green) == "green1")
      #expect(try await topology.green1.fetch(Topology.second) == "red2")
    }

    @Test("a guest without floating IP reaches the world with the address of its router")
    func sourceTranslation() async throws {
      let topology = try await Topology.shared()
      let router = try await topology.lab.get("/v1/routers/red")
      let addresses = router["external_addresses"]?.arrayValue?.compactMap(\.stringValue) ?? []
      let seen = try await topology.green1.fetch(Topology.world)
      #expect(addresses.contains(seen), "\(addresses)")
      #expect(await !topology.blue1.succeeds("ping -c 1 -W 2 \(Topology.world)"), "blue has no router")
    }

    @Test("guests give themselves an IPv6 address from what the router says, and reach each other and the world by it")
    func version6() async throws {
      let topology = try await Topology.shared()
      let lab = topology.lab
      let nics = try await lab.get("/v1/vms/red2")["nics"]?[0]
      let address = try #require(
        nics?["addresses"]?.arrayValue?.compactMap(\.stringValue).first { $0.hasPrefix("fd00:a:") })
      try await eventually("red2 has the address that the API tells", within: .seconds(60)) {
        await topology.red2.succeeds("ip -6 -o address show dev eth0 | grep -q '\(address)/64'")
      }
      try await topology.red1.pings(address, becomes: true)
      // The world has to know the way back: there is no translation for IPv6.
      let router = try await lab.get("/v1/routers/red")["external_addresses"]?.arrayValue ?? []
      let way = try #require(router.compactMap(\.stringValue).first { $0.contains(":") })
      try await lab.shell("outside", "ip -6 route replace fd00:a::/64 via \(way)")
      try await topology.red1.pings("fd00:a10f:80::80", becomes: true)
    }

    @Test("what a group lets through and what not takes effect on running guests, in both directions")
    func securityGroups() async throws {
      let topology = try await Topology.shared()
      let lab = topology.lab
      try await lab.send("POST", "/v1/security-groups", ["name": "tight"])
      let nic = try #require(try await lab.get("/v1/vms/green1")["nics"]?[0]?["id"]?.stringValue)
      try await lab.send("PATCH", "/v1/nics/\(nic)", ["security_groups": ["tight"]])
      try await eventually("nothing goes in or out", within: .seconds(30)) {
        let inward = await topology.red1.pings(Topology.green)
        let outward = await topology.green1.pings(Topology.world)
        return !inward && !outward
      }
      let ingress = try await lab.send(
        "POST", "/v1/security-groups/tight/rules",
        ["direction": "ingress", "ip_version": 4, "protocol": "tcp", "port": 80, "remote": "10.0.0.0/24"])
      try await eventually("HTTP gets in", within: .seconds(30)) {
        (try? await topology.red1.fetch(Topology.green)) == "green1"
      }
      #expect(await !topology.red1.pings(Topology.green), "only HTTP")
      #expect(await !topology.green1.pings(Topology.world), "nothing gets out but answers")

      try await lab.send(
        "POST", "/v1/security-groups/tight/rules", ["direction": "egress", "ip_version": 4, "protocol": "icmp"])
      try await topology.green1.pings(Topology.world, becomes: true)
      let rule = try #require(ingress["id"]?.stringValue)
      try await lab.send("DELETE", "/v1/security-groups/tight/rules/\(rule)")
      try await eventually("HTTP is stopped again", within: .seconds(30)) {
        (try? await topology.red1.fetch(Topology.green)) == nil
      }
      try await lab.send("PATCH", "/v1/nics/\(nic)", ["security_groups": ["default"]])
      try await topology.red1.pings(Topology.green, becomes: true)
    }

    @Test(
      "the world reaches a guest by a floating IP, on the ports that its group opens; it moves to another in one change"
    )
    func floatingIP() async throws {
      let topology = try await Topology.shared()
      let lab = topology.lab
      try await lab.send(
        "POST", "/v1/security-groups",
        ["name": "web", "rules": [["direction": "ingress", "protocol": "tcp", "port": 80], ["direction": "egress"]]])
      var nics: [String] = []
      for vm in ["red1", "red2"] {
        let nic = try #require(try await lab.get("/v1/vms/\(vm)")["nics"]?[0]?["id"]?.stringValue)
        nics.append(nic)
      }
      let made = try await lab.send(
        "POST", "/v1/floating-ips", ["external_network": "outside", "nic": .string(nics[0])])
      let address = try #require(made["address"]?.stringValue)
      let id = try #require(made["id"]?.stringValue)
      let fetched = { () async -> String? in
        try? await lab.shell("outside", "curl -sS --max-time 3 http://\(address)/")
          .trimmingCharacters(in: .whitespacesAndNewlines)
      }
      #expect(await fetched() == nil, "the default group lets nobody in")
      for nic in nics { try await lab.send("PATCH", "/v1/nics/\(nic)", ["security_groups": ["default", "web"]]) }
      try await eventually("red1 answers", within: .seconds(30)) { await fetched() == "red1" }
      #expect(try await topology.red1.fetch(Topology.world) == address, "it goes out by that address too")
      try await lab.send("PATCH", "/v1/floating-ips/\(id)", ["nic": .string(nics[1])])
      try await eventually("red2 answers", within: .seconds(30)) { await fetched() == "red2" }
      try await lab.send("DELETE", "/v1/floating-ips/\(id)")
      try await eventually("nobody answers", within: .seconds(30)) { await fetched() == nil }
    }

    @Test("a load balancer's address leads to its members, and past one that is dead")
    func loadBalancer() async throws {
      let topology = try await Topology.shared()
      let lab = topology.lab
      let members: JSONValue = [
        ["address": .string(Topology.first), "port": 80], ["address": .string(Topology.second), "port": 80],
      ]
      let check: JSONValue = ["interval_seconds": 1, "timeout_seconds": 1, "failures": 1, "successes": 1]
      let made = try await lab.send(
        "POST", "/v1/load-balancers",
        [
          "name": "red", "subnet": "red",
          "listeners": [["protocol": "tcp", "port": 8080, "members": members, "health_check": check]],
        ])
      let address = try #require(made["address"]?.stringValue)
      /// Whom several connections end at.
      let answers = { () async throws -> Set<String> in
        let text = try await topology.green1.run(
          "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do timeout 3 wget -q -O - http://\(address):8080/ || echo none; done")
        return Set(text.split(separator: "\n").map(String.init))
      }
      try await eventually("both members answer", within: .seconds(60)) { try await answers() == ["red1", "red2"] }
      try await topology.red2.run("killall httpd")
      try await eventually("only the one that lives answers", within: .seconds(60)) { try await answers() == ["red1"] }
      try await topology.red2.run("httpd -p 80 -h /www")
      try await eventually("both answer again", within: .seconds(60)) { try await answers() == ["red1", "red2"] }
      try await lab.send("DELETE", "/v1/load-balancers/red")
    }
  }
}
