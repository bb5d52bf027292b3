import AloftModel
import Foundation
import IPAddressing
import OVSDB
import TestSupport
import Testing

@testable import Northbound

/// What OVN makes of the rows, by its own tools.
@Suite("What OVN understands", .enabled(if: CentralOVN.isInstalled), .timeLimit(.minutes(5)))
struct OVNTests {
  private let cloud = SampleCloud()
  private var web: String { cloud.web.id.description }
  private var data: String { cloud.data.id.description }

  @Test("OVN understands everything, and changes nothing of it")
  func understood() async throws {
    var cloud = cloud
    cloud.nics[2].isProtected = false
    cloud.nics[2].bandwidth = .init(incoming: 10_000, outgoing: 20_000)
    cloud.nics[0].allowedPairs = [.init(mac: mac("00:00:5e:00:01:01"), addresses: block("10.9.0.0/16"))]
    let peer = Model.Router(id: id(2), project: SampleCloud.project, name: "peer")
    let peering = Model.Peering(
      id: id(1),
      first: .init(
        router: id(1), mac: mac("02:00:00:00:aa:01"),
        addresses: [.init(address: address("169.254.0.1"), prefixLength: 30)], reachable: [block("10.0.0.0/24")]),
      second: .init(
        router: id(2), mac: mac("02:00:00:00:aa:02"),
        addresses: [.init(address: address("169.254.0.2"), prefixLength: 30)], reachable: [block("10.5.0.0/24")]))
    let model = Model(cloud.objects + [.router(peer), .peering(peering)])
    let ovn = try await CentralOVN()
    let writer = try await ovn.northbound.acquiredWriter(model)
    try await ovn.sync()
    let trace = try await ovn.trace(web, "inport == \"\(cloud.nics[0].id.port)\" && eth.src == 02:00:00:00:10:01")
    #expect(trace.complaints == [])
    #expect(try ovn.complaints() == [])
    #expect(try await writer.discrepancies(from: model) == [])
    #expect(try await writer.replaceAll(model).operations == 0)
    let names = try await ovn.southboundRows("DNS", "records")
    #expect(names.contains("alpha.web.example=10.0.0.11 fd00:1::ff:fe00:1001"), "\(names)")
    let flows = try await ovn.flows()
    #expect(flows.contains("domain_name = \"web.example\""))
    #expect(flows.contains("classless_static_route = {169.254.169.254/32,10.0.0.2, 192.168.0.0/16,10.0.0.9"))
    #expect(flows.contains("put_nd_ra_opts(addr_mode = \"slaac\", slla = 02:00:00:00:01:01, mtu = 1442"))
    #expect(flows.contains("put_nd_ra_opts(addr_mode = \"dhcpv6_stateful\", slla = 02:00:00:00:01:02, mtu = 1442"))
    #expect(flows.contains("put_dhcpv6_opts(ia_addr = fd00:2::13"))
    try await writer.replaceAll(Model())
    try await ovn.sync()
    #expect(try ovn.complaints() == [])
  }

  @Test("what OVN does not understand would show")
  func misunderstood() async throws {
    let ovn = try await CentralOVN()
    let writer = try await ovn.northbound.acquiredWriter(cloud.model)
    let other = try ovn.northbound.client()
    try await other.transact([
      .insert(
        table: "Logical_Switch", row: ["name": "theirs", "acls": .namedUUID("bad")], as: .unnamed),
      .insert(
        table: "ACL",
        row: ["direction": "to-lport", "priority": 1, "match": "ip4.src == nonsense &&", "action": "drop"],
        as: .named("bad")),
    ])
    try await ovn.sync()
    let trace = try await ovn.trace(web, "inport == \"\(cloud.nics[0].id.port)\"")
    #expect(!trace.complaints.isEmpty)
    #expect(try await writer.discrepancies(from: cloud.model) == [])
  }

  @Test("security groups let through what their rules say, and DHCP, discovery and metadata in any case")
  func securityGroups() async throws {
    let ovn = try await CentralOVN()
    _ = try await ovn.northbound.acquiredWriter(cloud.model)
    try await ovn.sync()
    let (alpha, beta, gamma) = (cloud.nics[0], cloud.nics[1], cloud.nics[2])
    // Beta's group lets in what comes from beta's group, and HTTP of alpha's; it lets nothing out.
    #expect(try await reaches(ovn, alpha, beta, "tcp.dst == 80"))
    #expect(try await !reaches(ovn, alpha, beta, "tcp.dst == 81"))
    #expect(try await !reaches(ovn, alpha, beta, "udp.dst == 80"))
    #expect(try await !reaches(ovn, alpha, beta, "icmp4.type == 8"))
    #expect(try await !reaches(ovn, beta, alpha, "tcp.dst == 22"))
    // Answers to what was let through pass.
    #expect(try await reaches(ovn, beta, alpha, "tcp.dst == 4000", "--ct=est,rpl", "--ct=est,rpl"))
    // Over the router, and by address.
    #expect(try await reaches(ovn, gamma, alpha, "tcp.dst == 22"))
    #expect(try await reaches(ovn, gamma, alpha, "udp.dst == 5000"))
    #expect(try await reaches(ovn, gamma, alpha, "udp.dst == 5010"))
    #expect(try await !reaches(ovn, gamma, alpha, "udp.dst == 5011"))
    #expect(try await !reaches(ovn, gamma, alpha, "tcp.dst == 23"))
    #expect(try await reaches(ovn, gamma, alpha, "icmp4.type == 8 && icmp4.code == 0"))
    #expect(try await !reaches(ovn, gamma, alpha, "icmp4.type == 13 && icmp4.code == 0"))
    // What a guest without any rule can do nevertheless.
    let beta4 = "inport == \"\(beta.id.port)\" && eth.src == \(beta.mac)"
    let discover = try await ovn.trace(
      web,
      beta4 + " && eth.dst == ff:ff:ff:ff:ff:ff && ip4.src == 0.0.0.0 && ip4.dst == 255.255.255.255"
        + " && udp.src == 68 && udp.dst == 67 && ip.ttl == 64", "--ct=new")
    #expect(discover.leaves(by: beta.id.port), "\(discover.output)")
    let metadata = try await ovn.trace(
      web,
      beta4 + " && eth.dst == \(cloud.web.id.metadataMAC) && ip4.src == 10.0.0.12 && ip4.dst == 169.254.169.254"
        + " && tcp.src == 4000 && tcp.dst == 80 && ip.ttl == 64", "--ct=new")
    #expect(metadata.leaves(by: cloud.web.id.metadataPort))
    let elsewhere = try await ovn.trace(
      web,
      beta4 + " && eth.dst == \(cloud.web.id.metadataMAC) && ip4.src == 10.0.0.12 && ip4.dst == 169.254.169.254"
        + " && tcp.src == 4000 && tcp.dst == 22 && ip.ttl == 64", "--ct=new")
    #expect(elsewhere.leaves())
    let neighbour = try await ovn.trace(
      web,
      beta4 + " && eth.dst == 33:33:ff:00:00:01 && ip6.src == fe80::ff:fe00:1002 && ip6.dst == ff02::1:ff00:1"
        + " && nd_ns && nd.target == fd00:1::77 && ip.ttl == 255", "--ct=new")
    #expect(neighbour.reaches(alpha.id.port))
    let arp = try await ovn.trace(
      web,
      beta4 + " && eth.dst == ff:ff:ff:ff:ff:ff && arp.op == 1 && arp.tpa == 10.0.0.88 && arp.spa == 10.0.0.12"
        + " && arp.sha == \(beta.mac)")
    #expect(arp.reaches(alpha.id.port), "\(arp.output)")
    // The metadata port's addresses are answered for on the spot.
    for target in ["10.0.0.2", "169.254.169.254"] {
      let answer = try await ovn.trace(
        web,
        beta4 + " && eth.dst == ff:ff:ff:ff:ff:ff && arp.op == 1 && arp.tpa == \(target) && arp.spa == 10.0.0.12"
          + " && arp.sha == \(beta.mac)")
      #expect(answer.leaves(by: beta.id.port))
    }
  }

  @Test("the way out is by SNAT, the way in by floating IPs, and a router's peer is reached where it lets be")
  func routing() async throws {
    let ovn = try await CentralOVN()
    var cloud = cloud
    cloud.router.gateway?.addresses.append(.init(address: address("2001:db8:ff::10"), prefixLength: 64))
    cloud.router.gateway?.nextHops.append(address("2001:db8:ff::1"))
    let peered = Model.Network(
      id: id(5), project: SampleCloud.project, name: "peered", mtu: 1442,
      subnets: [.init(id: id(50), cidr: block("10.5.0.0/24"), gateway: address("10.5.0.1"))])
    let router = Model.Router(
      id: id(2), project: SampleCloud.project, name: "second",
      interfaces: [
        .init(
          network: id(5), mac: mac("02:00:00:00:05:01"),
          addresses: [.init(subnet: id(50), address: address("10.5.0.1"))])
      ])
    let far = SampleCloud.nic(50, network: 5, [(50, "10.5.0.5")], host: "far")
    let peering = Model.Peering(
      id: id(1),
      first: .init(
        router: id(1), mac: mac("02:00:00:00:aa:01"),
        addresses: [.init(address: address("169.254.0.1"), prefixLength: 30)], reachable: [block("10.0.0.0/24")]),
      second: .init(
        router: id(2), mac: mac("02:00:00:00:aa:02"),
        addresses: [.init(address: address("169.254.0.2"), prefixLength: 30)], reachable: [block("10.5.0.0/24")]))
    let model = Model(
      cloud.objects + [.network(peered), .router(router), .nic(far), .peering(peering)])
    _ = try await ovn.northbound.acquiredWriter(model)
    try await ovn.sync()
    let gamma = cloud.nics[2]
    #expect(try await reaches(ovn, cloud.nics[0], far, "tcp.dst == 9"))
    #expect(try await reaches(ovn, far, cloud.nics[0], "tcp.dst == 22"))
    // Not reachable: gamma's network is not let be reached.
    #expect(try await !reaches(ovn, far, gamma, "tcp.dst == 22"))
    let flows = try await ovn.flows()
    #expect(flows.contains("ip4.src == 10.0.0.0/24"))
    #expect(flows.contains("ct_snat(203.0.113.10)"))
    #expect(flows.contains("ip4.src == 10.0.0.11 && outport == "))
    #expect(flows.contains("eth.src = 02:00:00:00:02:01"))
    #expect(try ovn.complaints() == [])
  }

  @Test("no source address gets out that is not translated, or routed to the project")
  func sources() async throws {
    let ovn = try await CentralOVN()
    var cloud = cloud
    for index in cloud.nics.indices {
      (cloud.nics[index].securityGroups, cloud.nics[index].isProtected) = ([], false)
    }
    cloud.router.gateway?.addresses.append(.init(address: address("2001:db8:ff::10"), prefixLength: 64))
    cloud.router.gateway?.nextHops.append(address("2001:db8:ff::1"))
    let writer = try await ovn.northbound.acquiredWriter(cloud.model)
    try await ovn.sync()
    #expect(try await leaves(ovn, "10.0.1.13"))
    // Another tenant's floating IP, and the world's.
    for foreign in ["203.0.113.77", "8.8.8.8", "fd00:2::13", "2001:db8:ff::77"] {
      #expect(try await !leaves(ovn, foreign), "\(foreign)")
    }
    cloud.outside.routedBlocks = [.init(project: SampleCloud.project, cidr: block("fd00:2::/48"))]
    cloud.router.gateway?.usesSNAT = false
    try await writer.apply([.put(.externalNetwork(cloud.outside)), .put(.router(cloud.router))])
    try await ovn.sync()
    #expect(try await !leaves(ovn, "10.0.1.13"), "nothing translates it")
    #expect(try await leaves(ovn, "fd00:2::13"))
    #expect(try ovn.complaints() == [])
  }

  /// Whether a packet that gamma sends from an address gets out by the gateway.
  private func leaves(_ ovn: CentralOVN, _ source: String) async throws -> Bool {
    let gamma = cloud.nics[2]
    let family = source.contains(":") ? "ip6" : "ip4"
    let target = source.contains(":") ? "2001:db8:9::9" : "192.0.2.9"
    let trace = try await ovn.trace(
      data,
      "inport == \"\(gamma.id.port)\" && eth.src == \(gamma.mac) && eth.dst == 02:00:00:00:01:02 && ip.ttl == 64"
        + " && \(family).src == \(source) && \(family).dst == \(target) && udp.dst == 9",
      options: Array(repeating: "--ct=new", count: 4))
    #expect(trace.complaints == [])
    // The gateway asks for the next hop's MAC address, or the packet goes.
    return !trace.leaves()
  }

  @Test("what is sent from another MAC address or address is dropped, but for allowed pairs and without protection")
  func spoofing() async throws {
    let ovn = try await CentralOVN()
    var cloud = cloud
    for index in cloud.nics.indices { cloud.nics[index].securityGroups = [] }
    let writer = try await ovn.northbound.acquiredWriter(cloud.model)
    try await ovn.sync()
    let (alpha, beta) = (cloud.nics[0], cloud.nics[1])
    #expect(try await reaches(ovn, alpha, beta, "tcp.dst == 80"))
    for isAllowed in [false, true] {
      let byAddress = spoofed(alpha, beta) { $0.addresses[0].address = address("10.0.0.99") }
      let byMAC = spoofed(alpha, beta) { $0.mac = mac("00:00:5e:00:01:01") }
      #expect(try await ovn.trace(web, byAddress).leaves(by: beta.id.port) == isAllowed)
      #expect(try await ovn.trace(web, byMAC).leaves(by: beta.id.port) == isAllowed)
      cloud.nics[0].allowedPairs = [
        // Of a longer block ovn-trace knows only the first address, other than OVN on nodes.
        .init(addresses: block("10.0.0.99/32")),
        .init(mac: mac("00:00:5e:00:01:01"), addresses: block("10.0.0.11/32")),
      ]
      try await writer.apply([.put(.nic(cloud.nics[0]))])
      try await ovn.sync()
    }
    let beyond = spoofed(alpha, beta) { $0.addresses[0].address = address("10.0.0.112") }
    #expect(try await ovn.trace(web, beyond).leaves())
    cloud.nics[0].isProtected = false
    try await writer.apply([.put(.nic(cloud.nics[0]))])
    try await ovn.sync()
    #expect(try await ovn.trace(web, beyond).leaves(by: beta.id.port))
  }

  @Test("a load balancer leads to its members from behind the router")
  func loadBalancer() async throws {
    let ovn = try await CentralOVN()
    var cloud = cloud
    cloud.open.rules.append(.init(id: id(9), direction: .ingress, ipVersion: .v4, protocol: .tcp, ports: 8080...8080))
    _ = try await ovn.northbound.acquiredWriter(cloud.model)
    try await ovn.sync()
    let gamma = cloud.nics[2]
    let packet =
      "inport == \"\(gamma.id.port)\" && eth.src == \(gamma.mac) && eth.dst == 02:00:00:00:01:02 && ip.ttl == 64"
      + " && ip4.src == 10.0.1.13 && ip4.dst == 10.0.0.100 && tcp.src == 4000 && tcp.dst == "
    let new = Array(repeating: "--ct=new", count: 4)
    let trace = try await ovn.trace(data, packet + "80", options: new + ["--lb-dst=10.0.0.11:8080"])
    #expect(trace.leaves(by: cloud.nics[0].id.port), "\(trace.output)")
    let flows = try await ovn.flows()
    #expect(flows.contains("ct_lb_mark(backends=10.0.0.11:8080,10.0.0.12:8080)"))
    #expect(flows.contains("ct_lb_mark(backends=10.0.0.12:53)"))
    #expect(flows.contains("handle_svc_check"))
    let checks = try await ovn.southboundRows("Service_Monitor", "logical_port,ip,src_ip")
    #expect(checks.contains("\(cloud.nics[0].id.port),10.0.0.11,10.0.0.3"), "\(checks)")
    #expect(checks.contains("\(cloud.nics[1].id.port),10.0.0.12,10.0.0.3"))
    #expect(try ovn.complaints() == [])
  }

  /// A packet of UDP in which the source says that it is another one.
  private func spoofed(_ source: Model.NIC, _ destination: Model.NIC, _ change: (inout Model.NIC) -> Void) -> String {
    var claimed = source
    change(&claimed)
    return [
      "inport == \"\(source.id.port)\"", "eth.src == \(claimed.mac)", "eth.dst == \(destination.mac)",
      "ip4.src == \(claimed.addresses[0].address)", "ip4.dst == \(destination.addresses[0].address)", "ip.ttl == 64",
      "udp.dst == 9",
    ].joined(separator: " && ")
  }

  /// Whether a packet that begins a connection comes from one NIC to another, over a router if they are in different networks.
  private func reaches(
    _ ovn: CentralOVN, _ source: Model.NIC, _ destination: Model.NIC, _ what: String, _ options: String...
  ) async throws -> Bool {
    let gateways: [NetworkID: String] = [
      id(1): "02:00:00:00:01:01", id(2): "02:00:00:00:01:02", id(5): "02:00:00:00:05:01",
    ]
    let isNear = source.network == destination.network
    let packet = [
      "inport == \"\(source.id.port)\"", "eth.src == \(source.mac)",
      "eth.dst == \(isNear ? destination.mac.description : gateways[source.network] ?? "")",
      "ip4.src == \(source.addresses[0].address)", "ip4.dst == \(destination.addresses[0].address)", "ip.ttl == 64",
      what,
    ].joined(separator: " && ")
    let trace = try await ovn.trace(
      source.network.description, packet, options: options.isEmpty ? Array(repeating: "--ct=new", count: 4) : options)
    #expect(trace.complaints == [])
    return trace.leaves(by: destination.id.port)
  }
}
