import JSON
import Testing

@testable import AloftCLI

/// The commands about networks against a server on loopback.
@Suite struct NetworkCommandTests {
  @Test("networks and subnets are made and changed with what was said, and a network is shown with all that is on it")
  func networks() async throws {
    let server = try await CannedServer()
    _ = await server.aloft("network", "create", "blue", "--mtu", "1400", "--label", "a=b", "--project", "shop")
    _ = await server.aloft("network", "update", "blue", "--dns-domain", "b.example", "--rename", "navy")
    _ = await server.aloft(
      "subnet", "create", "blue-v4", "--network", "blue", "--cidr", "10.0.0.0/24", "--no-gateway", "--pool",
      "10.0.0.9-10.0.0.20", "--dns-server", "192.0.2.53", "--host-route", "192.0.2.0/24=10.0.0.7", "--dry-run")
    _ = await server.aloft("subnet", "update", "blue-v4", "--rename", "b", "--no-dns-servers", "--no-host-routes")
    let requests = try await server.requests()
    #expect(requests[0]["body"] == ["name": "blue", "mtu": 1400, "labels": ["a": "b"]])
    #expect(requests[0]["query"] == ["project": "shop"])
    #expect(requests[0]["headers"]?["idempotency-key"] == "random-1")
    #expect(requests[1]["body"] == ["name": "navy", "dns_domain": "b.example"])
    #expect(
      requests[2]["body"] == [
        "name": "blue-v4", "network": "blue", "cidr": "10.0.0.0/24", "gateway": .null,
        "pools": ["10.0.0.9-10.0.0.20"], "dns_servers": ["192.0.2.53"],
        "host_routes": [["destination": "192.0.2.0/24", "next_hop": "10.0.0.7"]],
      ])
    #expect(requests[2]["query"] == ["dry_run": "true"])
    #expect(requests[3]["body"] == ["name": "b", "dns_servers": [], "host_routes": []])
    #expect(await server.aloft("network", "list").output.contains("10.0.0.0/24"))
    #expect(await server.aloft("subnet", "list", "--network", "blue").output.contains("10.0.0.1"))
    #expect(try await server.requests().last?["query"]?["network"] == "blue")
    let topology = await server.aloft("network", "topology", "blue").output
    for text in ["nic", "one", "10.0.0.7", "floating_ip", "203.0.113.7"] {
      #expect(topology.contains(text), "\(topology)")
    }
    #expect(await server.aloft("network", "topology", "blue", "-o", "json").output.contains("\"peerings\": []"))
    #expect(await server.aloft("network", "delete", "a").errors == "deleted network a\n")
    #expect(await server.aloft("network", "update", "blue").errors.contains("say what to change"))
  }

  @Test("a NIC is plugged, changed and unplugged with what was said; a VM comes with networks, or with none")
  func nics() async throws {
    let server = try await CannedServer()
    _ = await server.aloft(
      "nic", "create", "one", "--network", "blue", "--subnet", "v4", "--address", "10.0.0.7", "--security-group", "web",
      "--no-anti-spoofing", "--egress-kbps", "1000", "--no-wait")
    _ = await server.aloft(
      "nic", "update", "nic_1", "--no-security-group", "--egress-kbps", "0", "--allow", "10.9.0.0/16",
      "--allow", "10.0.0.9/32=00:00:5e:00:01:01")
    _ = await server.aloft("vm", "create", "two", "--image", "tiny", "--network", "a", "--network", "b", "--dry-run")
    _ = await server.aloft("vm", "create", "two", "--image", "tiny", "--no-network", "--dry-run")
    let requests = try await server.requests()
    #expect(
      requests[0]["body"] == [
        "vm": "one", "network": "blue", "subnets": ["v4"], "addresses": ["10.0.0.7"], "security_groups": ["web"],
        "anti_spoofing": false,
        "egress_kbps": 1000,
      ])
    #expect(
      requests[1]["body"] == [
        "security_groups": [], "egress_kbps": .null,
        "allowed_pairs": [["cidr": "10.9.0.0/16"], ["cidr": "10.0.0.9/32", "mac": "00:00:5e:00:01:01"]],
      ])
    #expect(requests[2]["body"]?["nics"] == [["network": "a"], ["network": "b"]])
    #expect(requests[3]["body"]?["nics"] == [])
    _ = await server.aloft("nic", "update", "nic_1", "--no-allow")
    #expect(try await server.requests().last?["body"] == ["allowed_pairs": []])
    _ = await server.aloft("nic", "label", "nic_1", "tier=web")
    #expect(try await server.requests().last?["body"]?["labels"] == ["tier": "web"])
    _ = await server.aloft(
      "vm", "create", "two", "--image", "tiny", "--nic", "network=a,address=10.0.0.7,group=web,group=ssh", "--nic",
      "network=b,subnet=v4,mac=02:00:00:00:00:07", "--dry-run")
    #expect(
      try await server.requests().last?["body"]?["nics"] == [
        ["network": "a", "addresses": ["10.0.0.7"], "security_groups": ["web", "ssh"]],
        ["network": "b", "subnets": ["v4"], "mac": "02:00:00:00:00:07"],
      ])
    for wrong in ["", "blue", "address=10.0.0.7", "network=a,network=b", "network=a,speed=9", "network="] {
      #expect(NICArgument(argument: wrong) == nil, "\(wrong)")
    }
    #expect(await server.aloft("nic", "list", "--vm", "one").output.contains("10.0.0.7"))
    #expect(try await server.requests().last?["query"]?["vm"] == "one")
    _ = await server.aloft("nic", "delete", "nic_1", "--no-wait")
    #expect(try await server.requests().last?["path"] == "/v1/nics/nic_1")
    #expect(await server.aloft("nic", "update", "nic_1").errors.contains("say what to change"))
  }

  @Test("rules of security groups are added, listed and removed")
  func securityGroups() async throws {
    let server = try await CannedServer()
    _ = await server.aloft(
      "security-group", "add-rule", "web", "ingress", "--protocol", "tcp", "--port", "8000-8099", "--remote",
      "10.0.0.0/8")
    _ = await server.aloft("security-group", "add-rule", "web", "egress", "--protocol", "icmp", "--icmp-type", "8")
    let requests = try await server.requests()
    #expect(
      requests[0]["body"] == [
        "direction": "ingress", "protocol": "tcp", "first_port": 8000, "last_port": 8099, "remote": "10.0.0.0/8",
      ])
    #expect(requests[0]["path"] == "/v1/security-groups/web/rules")
    #expect(requests[1]["body"] == ["direction": "egress", "protocol": "icmp", "icmp_type": 8])
    let rules = await server.aloft("security-group", "rules", "web").output
    for text in ["sgr_1", "443", "sg_9"] { #expect(rules.contains(text), "\(rules)") }
    #expect(await server.aloft("security-group", "remove-rule", "web", "sgr_1").errors == "deleted rule sgr_1\n")
    #expect(try await server.requests().last?["path"] == "/v1/security-groups/web/rules/sgr_1")
    _ = await server.aloft(
      "security-group", "create", "web", "--rule", "egress", "--rule", "ingress:tcp:443", "--rule",
      "ingress:::fd00::/8")
    #expect(
      try await server.requests().last?["body"]?["rules"] == [
        ["direction": "egress"], ["direction": "ingress", "protocol": "tcp", "first_port": 443, "last_port": 443],
        ["direction": "ingress", "remote": "fd00::/8"],
      ])
    for wrong in ["", "in:tcp", "ingress:tcp:x"] { #expect(RuleArgument(argument: wrong) == nil, "\(wrong)") }
    #expect(await server.aloft("security-group", "list").output.contains("RULES"))
    for wrong in ["x", "1-2-3", "-5"] { #expect(PortRange(argument: wrong) == nil, "\(wrong)") }
  }

  @Test("routers are led out, given routes and connected with subnets")
  func routers() async throws {
    let server = try await CannedServer()
    _ = await server.aloft("router", "create", "gate", "--external-network", "internet", "--no-snat")
    _ = await server.aloft("router", "update", "gate", "--route", "10.9.0.0/16=10.0.0.9")
    _ = await server.aloft("router", "update", "gate", "--no-external-network", "--no-routes")
    #expect(await server.aloft("router", "attach", "gate", "a", "b").output.contains("10.0.0.0/24, 10.1.0.0/24"))
    #expect(await server.aloft("router", "detach", "gate", "a").errors == "deleted interface a\n")
    let requests = try await server.requests()
    #expect(requests[0]["body"] == ["name": "gate", "external_network": "internet", "snat": false])
    #expect(requests[1]["body"] == ["routes": [["destination": "10.9.0.0/16", "next_hop": "10.0.0.9"]]])
    #expect(requests[2]["body"] == ["external_network": .null, "routes": []])
    #expect(requests[3]["path"] == "/v1/routers/gate/interfaces/a" && requests[3]["method"] == "PUT")
    #expect(requests[4]["path"] == "/v1/routers/gate/interfaces/b")
    #expect(requests[5]["path"] == "/v1/routers/gate/interfaces/a" && requests[5]["method"] == "DELETE")
    #expect(await server.aloft("router", "update", "gate").errors.contains("say what to change"))
  }

  @Test("a floating IP is called by its id or its address")
  func floatingIPs() async throws {
    let server = try await CannedServer()
    _ = await server.aloft("floating-ip", "create", "internet", "--address", "203.0.113.12")
    _ = await server.aloft("floating-ip", "assign", "203.0.113.12", "nic_7")
    _ = await server.aloft("floating-ip", "unassign", "fip_1")
    let requests = try await server.requests()
    #expect(requests[0]["body"] == ["external_network": "internet", "address": "203.0.113.12"])
    #expect(requests[1]["query"]?["address"] == "203.0.113.12")
    #expect(requests[2]["path"] == "/v1/floating-ips/fip_1" && requests[2]["body"] == ["nic": "nic_7"])
    #expect(requests[3]["body"] == ["nic": .null])
    #expect(await server.aloft("floating-ip", "delete", "203.0.113.12").errors == "deleted floating IP fip_1\n")
    #expect(await server.aloft("floating-ip", "list", "--nic", "nic_1").output.contains("203.0.113.12"))
  }

  @Test("a load balancer's listeners are said in one word each; networks are peered")
  func loadBalancers() async throws {
    let server = try await CannedServer()
    _ = await server.aloft(
      "load-balancer", "create", "web", "--subnet", "blue-v4", "--listener", "tcp:80=10.0.0.7:8080,nic_1:81",
      "--listener", "udp:53=[fd00::1]:53", "--health-check")
    _ = await server.aloft("load-balancer", "listen", "web")
    _ = await server.aloft("network-peering", "create", "bg", "blue", "green")
    let requests = try await server.requests()
    #expect(
      requests[0]["body"] == [
        "name": "web", "subnet": "blue-v4",
        "listeners": [
          [
            "protocol": "tcp", "port": 80,
            "members": [["address": "10.0.0.7", "port": 8080], ["nic": "nic_1", "port": 81]], "health_check": [:],
          ],
          ["protocol": "udp", "port": 53, "members": [["address": "fd00::1", "port": 53]], "health_check": [:]],
        ],
      ])
    #expect(requests[1]["body"] == ["listeners": []])
    _ = await server.aloft(
      "load-balancer", "listen", "web", "--listener", "tcp:80", "--check-interval", "2", "--check-failures", "1")
    #expect(
      try await server.requests().last?["body"]?["listeners"]?[0]?["health_check"] == [
        "interval_seconds": 2, "failures": 1,
      ])
    #expect(requests[2]["body"] == ["name": "bg", "network": "blue", "peer_network": "green"])
    for wrong in ["80", "tcp:80=10.0.0.7", "sctp:80", "tcp:80=:80", "tcp:x"] {
      #expect(ListenerArgument(argument: wrong) == nil, "\(wrong)")
    }
    #expect(await server.aloft("load-balancer", "list").output.contains("10.0.0.50"))
    #expect(await server.aloft("network-peering", "show", "bg").output.contains("peer_1"))
  }

  @Test("external networks belong to no project")
  func externalNetworks() async throws {
    let server = try await CannedServer()
    _ = await server.aloft(
      "external-network", "create", "internet", "--physical-network", "public", "--vlan", "7")
    _ = await server.aloft(
      "external-network", "add-subnet", "internet", "v4", "--cidr", "203.0.113.0/24", "--pool", "203.0.113.9")
    let requests = try await server.requests()
    #expect(requests[0]["body"] == ["name": "internet", "physical_network": "public", "vlan": 7])
    #expect(requests[0]["query"] == [:])
    #expect(requests[1]["path"] == "/v1/external-networks/internet/subnets")
    #expect(requests[1]["body"] == ["name": "v4", "cidr": "203.0.113.0/24", "pools": ["203.0.113.9"]])
    #expect(await server.aloft("external-network", "list").output.contains("public"))
    #expect(await server.aloft("external-network", "subnets", "internet").output.contains("203.0.113.1"))
    #expect(await server.aloft("external-network", "remove-subnet", "internet", "v4").errors == "deleted subnet v4\n")
    let routed = await server.aloft(
      "external-network", "set-routed-blocks", "internet", "--block", "2001:db8:100::/48=shop")
    #expect(routed.output.contains("2001:db8:100::/48"), "\(routed)")
    #expect(
      try await server.requests().last?["body"] == ["blocks": [["cidr": "2001:db8:100::/48", "project": "shop"]]])
    #expect(await server.aloft("external-network", "routed-blocks", "internet").output.contains("prj_1"))
    #expect(await server.aloft("external-network", "set-routed-blocks", "internet").errors.contains("--none"))
    _ = await server.aloft("external-network", "update", "internet", "--mtu", "9000")
    #expect(try await server.requests().last?["body"] == ["mtu": 9000])
    #expect(
      await server.aloft("external-network", "delete", "internet").errors == "deleted external network internet\n")
  }
}
