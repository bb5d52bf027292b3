import JSON
import TestSupport
import Testing

extension LabTests {
  /// IPv6, by packets of guests.
  @Suite(.timeLimit(.minutes(5)))
  struct IPv6Tests {
    @Test("guests give themselves an IPv6 address from what the router says, and reach each other and the world by it")
    func automatic() async throws {
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

    @Test("two tenants with the same IPv6 prefix, and the same address in it, see their own guests only")
    func tenants() async throws {
      let topology = try await Topology.shared()
      let path = "/v1/vms/blue1?project=blue"
      let own = try #require(
        try await topology.lab.get(path)["nics"]?[0]?["addresses"]?.arrayValue?.compactMap(\.stringValue)
          .first { $0.contains(":") })
      // The guests' client knows DHCP for IPv4 only.
      for (guest, address) in [(topology.blue1, own), (topology.blue2, Topology.second6)] {
        try await guest.run(
          "echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad; ip address replace \(address)/64 dev eth0")
      }
      for (guest, name) in [(topology.red1, "red2"), (topology.blue1, "blue2")] {
        try await eventually("\(guest.domain) reaches its neighbour", within: .seconds(90)) {
          (try? await guest.fetch("[\(Topology.second6)]")) == name
        }
      }
      #expect(await !topology.red1.pings(own), "nobody in red has it")
    }

    @Test(
      "a guest that its router tells to ask gets address, name server and domain by DHCPv6, and goes by that router")
    func stateful() async throws {
      let topology = try await Topology.shared()
      let lab = topology.lab
      try await lab.send("POST", "/v1/networks", ["name": "six"])
      try await lab.send(
        "POST", "/v1/subnets", ["name": "six", "network": "six", "cidr": "fd00:6::/64", "configuration": "dhcp"])
      try await lab.send("PUT", "/v1/routers/red/interfaces/six")
      let six = try await NamespaceGuest("six1", on: "node1", nic: ["network": "six"], in: lab)
      let address = try #require(six.addresses.first)
      try await eventually("a router has told of itself", within: .seconds(90)) {
        try await six.run("ip", "-6", "route").contains("default via fe80::")
      }
      let lease = try await six.leaseByDHCPv6()
      #expect(lease.contains("iaaddr \(address) {"), "\(lease)")
      #expect(lease.contains("dhcp6.name-servers fe80::a9fe:a9fe;"))
      #expect(lease.contains("dhcp6.domain-search \"aloft.internal.\";"))
      try await six.ip("address", "add", "\(address)/128", "dev", "eth0", "nodad")
      try await eventually("red2 is reached", within: .seconds(90)) { await six.pings(Topology.second6) }

      // The name server: OVN answers what it can read and has, the metadata service the rest.
      let server = "fe80::a9fe:a9fe%eth0"
      try await eventually("the metadata service is there") {
        try await six.asks("six1.aloft.internal", type: .a, at: server) == "code 0, 0 answers"
      }
      #expect(try await six.asks("six1.aloft.internal", type: .aaaa, at: server) == "code 0, 1 answers")
      #expect(
        try await six.asks("six1.aloft.internal", type: .aaaa, at: server, isExtended: true) == "code 1, 0 answers")
      #expect(try await six.asks("example.com", type: .a, at: server) == "code 5, 0 answers")
    }
  }
}
