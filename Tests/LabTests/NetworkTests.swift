import Foundation
import JSON
import LibvirtTestSupport
import TestSupport
import Testing

extension LabTests {
  /// One network on several nodes, by packets of real guests.
  @Suite(.timeLimit(.minutes(5)))
  struct NetworkTests {
    @Test("DHCP gives a guest the address, packet size, routes, servers and domain of its network")
    func dhcp() async throws {
      let topology = try await Topology.shared()
      let address = try await topology.red1.run("ip -4 -o address show eth0")
      #expect(address.contains("\(Topology.first)/24"))
      #expect(try await topology.red1.run("cat /sys/class/net/eth0/mtu") == "1442\n")
      #expect(try await topology.red1.run("ip route").contains("169.254.169.254 via 10.0.0."))
      #expect(try await topology.red1.run("cat /etc/resolv.conf").contains("search "))
    }

    @Test("guests of one network on two nodes reach each other, with packets as large as its MTU allows")
    func acrossNodes() async throws {
      let topology = try await Topology.shared()
      try await topology.red1.pings(Topology.second, becomes: true)
      #expect(await topology.red1.succeeds("ping -c 1 -W 2 -s 1414 \(Topology.second)"))
      try await topology.red2.run("head -c 1000000 /dev/urandom >/www/large")
      let sent = try await topology.red2.run("sha256sum </www/large")
      let got = try await topology.red1.run("timeout 60 wget -q -O - http://\(Topology.second)/large | sha256sum")
      #expect(got == sent)
    }

    @Test("the network's name server knows the guests by their names, and the names of their addresses")
    func names() async throws {
      let topology = try await Topology.shared()
      #expect(try await topology.red1.asks("red2").contains(Topology.second))
      #expect(try await topology.red1.asks(Topology.second).contains("red2."))
      #expect(try await !topology.red1.asks("blue2").contains(Topology.second), "another tenant's name is not known")
    }

    @Test(
      "a resolver that asks for both kinds of addresses gets the one that there is at once, and hears what is not there"
    )
    func namesOfOneKind() async throws {
      let topology = try await Topology.shared()
      // Its network has no IPv6. busybox is linked with glibc, which would wait five seconds for the other answer.
      #expect(try await topology.green1.fetch("green1") == "green1")
      // It succeeds when it is told that there is nothing.
      #expect(await topology.green1.succeeds("nslookup -type=aaaa green1"))
      #expect(await topology.green1.succeeds("nslookup nobody.aloft.internal"))
      #expect(try await topology.green1.asks("example.com").contains("REFUSED"))
    }

    @Test("two tenants with the same addresses see their own guests only")
    func tenants() async throws {
      let topology = try await Topology.shared()
      #expect(try await topology.red1.fetch(Topology.second) == "red2")
      #expect(try await topology.blue1.fetch(Topology.second) == "blue2")
      // And by names.
      #expect(try await !topology.blue1.asks("red2").contains(Topology.second))
    }

    @Test("packets with another source address or MAC than the NIC's are dropped")
    func spoofing() async throws {
      let topology = try await Topology.shared()
      try await topology.red1.pings(Topology.second, becomes: true)
      try await topology.red1.run("ip address add 10.0.0.66/24 dev eth0")
      #expect(await !topology.red1.succeeds("ping -c 2 -W 1 -I 10.0.0.66 \(Topology.second)"))
      try await topology.red1.run("ip address delete 10.0.0.66/24 dev eth0")

      try await topology.red1.with(mac: "02:00:00:00:00:66") {
        #expect(await !topology.red1.succeeds("ping -c 2 -W 1 \(Topology.second)"))
      }
      try await topology.red1.pings(Topology.second, becomes: true)
    }

    @Test(
      "a guest may use the addresses, the blocks and the MAC address of its allowed pairs, for as long as it has them")
    func allowedPairs() async throws {
      let topology = try await Topology.shared()
      let nic = try #require(try await topology.lab.get("/v1/vms/red1")["nics"]?[0]?["id"]?.stringValue)
      let allow = { (pairs: JSONValue) in
        _ = try await topology.lab.send("PATCH", "/v1/nics/\(nic)", ["allowed_pairs": pairs])
      }
      let inside: Set = ["10.0.0.66", "10.0.0.32", "10.0.0.47", "fd00:a::66", "fd00:a::70", "fd00:a::7f"]
      let all = inside.union(["10.0.0.31", "10.0.0.48", "fd00:a::80"])
      func set(_ verb: String, _ addresses: Set<String>) async throws {
        let commands = addresses.map { "ip address \(verb) \($0)/\($0.contains(":") ? 64 : 24) dev eth0" }
        try await topology.red1.run(commands.joined(separator: "; "))
      }
      try await set("add", all)
      let reached = { () async throws -> Set<String> in
        let ping = "(ping -c 1 -W 1 $a >/dev/null 2>&1 && echo $a) &"
        let text = try await topology.red2.run("for a in \(all.joined(separator: " ")); do \(ping) done; wait")
        return Set(text.split(separator: "\n").map(String.init))
      }
      #expect(try await reached() == [])
      try await allow([
        ["cidr": "10.0.0.66"], ["cidr": "10.0.0.32/28"], ["cidr": "fd00:a::66"], ["cidr": "fd00:a::70/124"],
      ])
      try await eventually("the pairs' addresses answer, and no other", within: .seconds(90)) {
        try await reached() == inside
      }
      // As VRRP's virtual routers have it.
      try await allow([["cidr": "10.0.0.64/29", "mac": "00:00:5e:00:01:01"]])
      try await eventually("they are the guest's no more", within: .seconds(90)) { try await reached() == [] }
      try await topology.red1.with(mac: "00:00:5e:00:01:01") {
        try await set("add", ["10.0.0.67"])
        try await topology.red2.pings("10.0.0.67", becomes: true)
      }
      // Those of IPv6 have gone with the link.
      try await set("delete", all.filter { !$0.contains(":") }.union(["10.0.0.67"]))
      try await allow([])
      try await topology.red1.pings(Topology.second, becomes: true)
    }

    @Test("the metadata service tells each guest about itself, by the network that it asks on, and wants a token")
    func metadata() async throws {
      let topology = try await Topology.shared()
      for (guest, name) in [(topology.red1, "red1"), (topology.blue1, "blue1")] {
        #expect(await (try? guest.fetch("169.254.169.254", path: "latest/meta-data/instance-id")) == nil)
        let ask = #"PUT /latest/api/token HTTP/1.1\r\nHost: md\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n"#
        let token = try await guest.run(
          "printf '\(ask)Content-Length: 0\\r\\nConnection: close\\r\\n\\r\\n' | timeout 5 nc 169.254.169.254 80 | tail -n 1"
        )
        let header = "X-aws-ec2-metadata-token: \(token.trimmingCharacters(in: .whitespacesAndNewlines))"
        let about = { (path: String) in
          try await guest.fetch("169.254.169.254", path: "latest/meta-data/" + path, headers: [header])
        }
        #expect(try await about("hostname").hasPrefix(name))
        #expect(try await about("instance-id") == guest.domain)
        #expect(try await about("local-ipv4") == Topology.first)
      }
    }

    @Test("a NIC is plugged into a running guest, carries packets, and is taken away again")
    func hotplug() async throws {
      let topology = try await Topology.shared()
      let lab = topology.lab
      try await lab.send("POST", "/v1/networks", ["name": "second"])
      try await lab.send("POST", "/v1/subnets", ["name": "second", "network": "second", "cidr": "10.7.0.0/24"])
      var nics: [String] = []
      for (vm, address) in [("red1", "10.7.0.11"), ("red2", "10.7.0.12")] {
        let made = try await lab.send(
          "POST", "/v1/nics", ["vm": .string(vm), "network": "second", "addresses": [.string(address)]], wait: true)
        nics.append(try #require(made["id"]?.stringValue))
      }
      try await eventually("the guest has its second address", within: .seconds(60)) {
        await topology.red1.succeeds("ip -4 -o address show eth1 | grep -q 10.7.0.11/24")
      }
      try await topology.red1.pings("10.7.0.12", becomes: true)
      for nic in nics { try await lab.send("DELETE", "/v1/nics/\(nic)", wait: true) }
      try await eventually("the device is gone", within: .seconds(60)) {
        await !topology.red1.succeeds("test -e /sys/class/net/eth1")
      }
      #expect(try await topology.red1.fetch(Topology.second) == "red2")
    }

    @Test("a VM that was made without NICs gets one while it runs, and its last one is taken away again")
    func lastNIC() async throws {
      let topology = try await Topology.shared()
      let lab = topology.lab
      try await lab.send("POST", "/v1/networks", ["name": "third"])
      try await lab.send("POST", "/v1/subnets", ["name": "third", "network": "third", "cidr": "10.8.0.0/24"])
      let lone = try await lab.create("lone", on: "node2")
      let made = try await lab.send("POST", "/v1/nics", ["vm": "lone", "network": "third"], wait: true)
      try #require(made["operation"]?["status"] == "succeeded", "\(made)")
      let id = try #require(made["id"]?.stringValue)
      try await eventually("the guest has the device", within: .seconds(60)) {
        await lone.succeeds("test -e /sys/class/net/eth0")
      }
      let gone = try await lab.send("DELETE", "/v1/nics/\(id)", wait: true)
      #expect(gone["operation"]?["status"] == "succeeded", "\(gone)")
      // The operation has ended because the guest has given it back, not before.
      #expect(await !lone.succeeds("test -e /sys/class/net/eth0"))
      try await lab.send("DELETE", "/v1/vms/lone", wait: true)
      try await lab.send("DELETE", "/v1/networks/third")
    }

    @Test("what a NIC may send in a second is limited while it runs, and the limit is lifted again")
    func bandwidth() async throws {
      let topology = try await Topology.shared()
      let nics = try await topology.lab.get("/v1/vms/red2")["nics"]?.arrayValue ?? []
      let nic = try #require(nics.first?["id"]?.stringValue)
      try await topology.red2.run("head -c 500000 /dev/zero >/www/zeros")
      let seconds = { () async throws -> Duration in
        let begin = ContinuousClock.now
        try await topology.red1.run("timeout 60 wget -q -O /dev/null http://\(Topology.second)/zeros")
        return ContinuousClock.now - begin
      }
      try await topology.lab.send("PATCH", "/v1/nics/\(nic)", ["egress_kbps": 1000])
      // 4 Mbit at 1 Mbit/s, after a burst: however quick or slow the machine is, it cannot be less than this.
      try await eventually("the limit is felt", within: .seconds(60)) { try await seconds() > .seconds(2) }
      try await topology.lab.send("PATCH", "/v1/nics/\(nic)", ["egress_kbps": nil])
      try await eventually("the limit is gone", within: .seconds(60)) { try await seconds() < .seconds(2) }
    }
  }
}

extension GuestShell {
  /// Does something while the guest's card has another MAC address. Its IPv6 addresses are only those that it gives itself
  /// afterwards.
  func with(mac: String, _ body: () async throws -> Void) async throws {
    let own = try await run("cat /sys/class/net/eth0/address").trimmingCharacters(in: .whitespacesAndNewlines)
    let change = { (mac: String) in
      "ip link set eth0 down; ip link set eth0 address \(mac); ip link set eth0 up; ip address show eth0"
    }
    try await run(change(mac))
    try await body()
    try await run(change(own))
    // Routes have gone with the link; a renewed lease brings them back.
    try await run("kill -USR1 $(cat /run/udhcpc.eth0.pid)")
    try await eventually("the routes are back") { await succeeds("ip route | grep -q ^169.254") }
  }
}
