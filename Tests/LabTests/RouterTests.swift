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

    @Test("what a guest sends from an address that is not its own does not get out, also without anti-spoofing")
    func foreignSources() async throws {
      let topology = try await Topology.shared()
      let lab = topology.lab
      let nic = try #require(try await lab.get("/v1/vms/green1")["nics"]?[0]?["id"]?.stringValue)
      try await lab.send("PATCH", "/v1/nics/\(nic)", ["anti_spoofing": false])
      // Somebody else's floating IP, and one that the router does not translate because it is of no subnet.
      let foreign = "198.51.100.222"
      try await topology.green1.run("ip address add \(foreign)/32 dev eth0")
      let sees = { (source: String, filter: String) async throws -> Bool in
        async let captured = lab.succeeds("outside", "timeout 15 tcpdump -n -c 1 -i any icmp and \(filter)")
        _ = await topology.green1.succeeds("ping -c 8 -i 1 -W 1 -I \(source) \(Topology.world)")
        return await captured
      }
      try await eventually("its own address is translated", within: .seconds(90)) {
        try await sees(Topology.green, "dst \(Topology.world)")
      }
      #expect(try await !sees(foreign, "src \(foreign)"))
      try await topology.green1.run("ip address delete \(foreign)/32 dev eth0")
      try await lab.send("PATCH", "/v1/nics/\(nic)", ["anti_spoofing": true])
    }

    @Test(
      "two networks with routers of their own reach each other while they have a peering, and no network behind them")
    func peering() async throws {
      let topology = try await Topology.shared()
      let lab = topology.lab
      try await lab.send("POST", "/v1/networks", ["name": "violet"])
      try await lab.send("POST", "/v1/routers", ["name": "violet"])
      for (name, block) in [("violet", "10.3.0.0/24"), ("violet-v6", "fd00:3::/64")] {
        try await lab.send(
          "POST", "/v1/subnets",
          ["name": .string(name), "network": "violet", "cidr": .string(block), "configuration": "dhcp"])
        try await lab.send("PUT", "/v1/routers/violet/interfaces/\(name)")
      }
      let violet = try await NamespaceGuest(
        "violet1", on: "node2", nic: Topology.nic("violet", "10.3.0.11", "fd00:3::11"), in: lab)
      try await violet.ip("address", "add", "10.3.0.11/24", "dev", "eth0")
      try await violet.ip("address", "add", "fd00:3::11/64", "dev", "eth0", "nodad")
      try await violet.ip("route", "add", "default", "via", "10.3.0.1")
      try await eventually("violet1 has a router") { await violet.pings("10.3.0.1") }
      #expect(await !violet.pings(Topology.second))

      try await lab.send(
        "POST", "/v1/network-peerings", ["name": "red-violet", "network": "red", "peer_network": "violet"])
      try await topology.red1.pings("10.3.0.11", becomes: true)
      try await topology.red1.pings("fd00:3::11", becomes: true)
      try await eventually("violet1 reaches red2", within: .seconds(90)) {
        let version4 = await violet.pings(Topology.second)
        return await violet.pings(Topology.second6) && version4
      }
      #expect(await !violet.pings(Topology.green), "behind red's router, but no part of the peering")

      try await lab.send("DELETE", "/v1/network-peerings/red-violet")
      async let version4: Void = topology.red1.pings("10.3.0.11", becomes: false)
      async let version6: Void = topology.red1.pings("fd00:3::11", becomes: false)
      _ = try await (version4, version6)
      #expect(await !violet.pings(Topology.second))
    }

    @Test("what a group lets through and what not takes effect on running guests, in both directions")
    func securityGroups() async throws {
      let topology = try await Topology.shared()
      let lab = topology.lab
      try await lab.send("POST", "/v1/security-groups", ["name": "tight"])
      let nic = try #require(try await lab.get("/v1/vms/green1")["nics"]?[0]?["id"]?.stringValue)
      try await lab.send("PATCH", "/v1/nics/\(nic)", ["security_groups": ["tight"]])
      try await eventually("nothing goes in or out", within: .seconds(90)) {
        let inward = await topology.red1.pings(Topology.green)
        let outward = await topology.green1.pings(Topology.world)
        return !inward && !outward
      }
      let ingress = try await lab.send(
        "POST", "/v1/security-groups/tight/rules",
        ["direction": "ingress", "ip_version": 4, "protocol": "tcp", "port": 80, "remote": "10.0.0.0/24"])
      try await eventually("HTTP gets in", within: .seconds(90)) {
        (try? await topology.red1.fetch(Topology.green)) == "green1"
      }
      #expect(await !topology.red1.pings(Topology.green), "only HTTP")
      #expect(await !topology.green1.pings(Topology.world), "nothing gets out but answers")

      try await lab.send(
        "POST", "/v1/security-groups/tight/rules", ["direction": "egress", "ip_version": 4, "protocol": "icmp"])
      try await topology.green1.pings(Topology.world, becomes: true)
      let rule = try #require(ingress["id"]?.stringValue)
      try await lab.send("DELETE", "/v1/security-groups/tight/rules/\(rule)")
      try await eventually("HTTP is stopped again", within: .seconds(90)) {
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
      try await eventually("red1 answers", within: .seconds(90)) { await fetched() == "red1" }
      #expect(try await topology.red1.fetch(Topology.world) == address, "it goes out by that address too")
      try await lab.send("PATCH", "/v1/floating-ips/\(id)", ["nic": .string(nics[1])])
      try await eventually("red2 answers", within: .seconds(90)) { await fetched() == "red2" }
      try await lab.send("DELETE", "/v1/floating-ips/\(id)")
      try await eventually("nobody answers", within: .seconds(90)) { await fetched() == nil }
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
