import AloftModel
import Foundation
import IPAddressing
import OVSDB
import Testing

@testable import Northbound

@Suite("Desired rows")
struct StateTests {
  @Test("changes one by one want the same rows as the model that they end in", arguments: 1...10)
  func incremental(seed: UInt64) {
    var changes = RandomChanges(seed: seed)
    var state = NorthboundState()
    for round in 0..<150 {
      let before = state.desired
      let touched = state.apply((0...(round % 3)).map { _ in changes.next() })
      // Whoever only looks at what was touched misses nothing.
      for key in Set(before.keys).union(state.desired.keys) where !touched.contains(key) {
        #expect(before[key] == state.desired[key])
      }
      guard round % 10 == 0 else { continue }
      let whole = NorthboundState(state.model)
      #expect(Set(state.desired.keys) == Set(whole.desired.keys))
      for key in whole.desired.keys { #expect(state.desired[key] == whole.desired[key]) }
    }
    state.apply(state.model.ids.map(Model.Change.remove))
    #expect(Set(state.desired.keys).isEmpty)
  }

  @Test("a changed NIC touches its port, the sets and names that it is in, and its limits; nothing else")
  func touchedByNIC() {
    let cloud = SampleCloud()
    var state = NorthboundState(cloud.model)
    #expect(state.apply([.put(.nic(cloud.nics[0]))]).isEmpty)
    var moved = cloud.nics[0]
    moved.node = id(2)
    let port = RowKey(table: .logicalSwitchPort, id: moved.id.uuid)
    #expect(state.apply([.put(.nic(moved))]) == [port])
    moved.securityGroups = [id(2)]
    #expect(state.apply([.put(.nic(moved))]) == [Names.portGroup(id(1)), Names.portGroup(id(2))])
    moved.hostname = "delta"
    #expect(state.apply([.put(.nic(moved))]) == [Names.dns(id(1))])
    moved.bandwidth.incoming = 1000
    let limited = state.apply([.put(.nic(moved))])
    #expect(Set(limited.map(\.table)) == [.qos, .logicalSwitch])
    let removed = state.apply([.remove(.nic(moved.id))])
    // The floating IP and the load balancer that named it, too.
    #expect(
      Set(removed.map(\.table))
        == [.logicalSwitchPort, .logicalSwitch, .portGroup, .dns, .qos, .nat, .logicalRouter, .loadBalancer])
    #expect(removed.count == 9)
  }

  @Test("derived UUIDs are those of RFC 9562")
  func derivedUUID() throws {
    let namespace = try #require(UUID(uuidString: "6ba7b810-9dad-11d1-80b4-00c04fd430c8"))
    #expect(UUID(of: "www.example.com", in: namespace).text == "2ed6657d-e927-568b-95e1-2665a8aea6a2")
  }

  @Test("DHCP in IPv4 names the metadata address as server, quotes names, and repeats the default route")
  func dhcpv4() {
    let options = row(SampleCloud().model, .dhcpOptions, id(1, SubnetID.self).uuid)?["options"]?.stringMap
    #expect(
      options == [
        "server_id": "10.0.0.2", "server_mac": NetworkID(id(1, NetworkID.self).uuid).metadataMAC,
        "lease_time": "43200", "router": "10.0.0.1", "mtu": "1442", "dns_server": "{192.0.2.53}",
        "domain_name": "\"web.example\"",
        "classless_static_route": "{169.254.169.254/32,10.0.0.2, 192.168.0.0/16,10.0.0.9, 0.0.0.0/0,10.0.0.1}",
      ])
  }

  @Test("a subnet without a router has DHCP and no default route, and gets one with a router")
  func withoutRouter() {
    let cloud = SampleCloud()
    var state = NorthboundState(cloud.model)
    let key = RowKey(table: .dhcpOptions, id: id(3, SubnetID.self).uuid)
    var apart = cloud.router
    apart.interfaces.removeLast()
    #expect(state.apply([.put(.router(apart))]).contains(key))
    #expect(state.desired[key]?["options"]?.stringMap?["router"] == nil)
    #expect(
      state.desired[key]?["options"]?.stringMap?["classless_static_route"] == "{169.254.169.254/32,10.0.1.2}")
    #expect(state.apply([.put(.router(cloud.router))]).contains(key))
    #expect(state.desired[key]?["options"]?.stringMap?["router"] == "10.0.1.1")
  }

  @Test("with SLAAC a port has the address that its MAC address gives, and may send from nothing else")
  func slaac() {
    let port = row(SampleCloud().model, .logicalSwitchPort, id(1, NICID.self).uuid)
    let own = "fd00:1::ff:fe00:1001"
    #expect(port?["addresses"]?.strings == ["02:00:00:00:10:01 10.0.0.11 \(own)"])
    #expect(port?["port_security"]?.strings == ["02:00:00:00:10:01 10.0.0.11/24 \(own) fe80::ff:fe00:1001"])
    #expect(port?["dhcpv4_options"] == .uuid(id(1, SubnetID.self).uuid))
    #expect(port?["dhcpv6_options"] == .empty)
  }

  @Test("allowed pairs widen what may be sent; without protection anything may be")
  func protection() {
    var nic = SampleCloud().nics[2]
    nic.allowedPairs = [
      .init(addresses: block("10.0.1.200/32")), .init(mac: mac("00:00:5e:00:01:01"), addresses: block("10.8.0.0/16")),
    ]
    var cloud = SampleCloud()
    cloud.nics = [nic]
    var port = row(cloud.model, .logicalSwitchPort, nic.id.uuid)
    #expect(
      port?["port_security"]?.strings == [
        "02:00:00:00:10:03 10.0.1.13/24 fd00:2::13 fe80::ff:fe00:1003 10.0.1.200", "00:00:5e:00:01:01 10.8.0.0/16",
      ])
    #expect(
      port?["addresses"]?.strings == ["02:00:00:00:10:03 10.0.1.13 fd00:2::13", "00:00:5e:00:01:01"])
    cloud.nics[0].isProtected = false
    port = row(cloud.model, .logicalSwitchPort, nic.id.uuid)
    #expect(port?["port_security"]?.strings == [])
    #expect(port?["addresses"]?.strings == ["02:00:00:00:10:03 10.0.1.13 fd00:2::13", "unknown"])
    cloud.nics[0].addresses = []
    cloud.nics[0].isProtected = true
    cloud.nics[0].allowedPairs = []
    port = row(cloud.model, .logicalSwitchPort, nic.id.uuid)
    // Never a MAC address alone: that would allow all addresses.
    #expect(port?["port_security"]?.strings == ["02:00:00:00:10:03 fe80::ff:fe00:1003"])
  }

  @Test("two VMs of one name share it, and what is no name is no record")
  func names() {
    var cloud = SampleCloud()
    cloud.nics[1].hostname = "ALPHA"
    let key = Names.dns(id(1)).id
    var records = row(cloud.model, .dns, key)?["records"]?.stringMap
    #expect(
      Set(records?["alpha.web.example"]?.split(separator: " ").map(String.init) ?? [])
        == ["10.0.0.11", "10.0.0.12", "fd00:1::ff:fe00:1001", "fd00:1::ff:fe00:1002"])
    #expect(records?["11.0.0.10.in-addr.arpa"] == "alpha.web.example")
    #expect(
      records?["1.0.0.1.0.0.e.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa"] == "alpha.web.example")
    for bad in ["", "a b", "x\"", "-a", "a.", "ä", String(repeating: "a", count: 64)] {
      cloud.nics[0].hostname = bad
      cloud.nics[1].hostname = bad
      records = row(cloud.model, .dns, key)?["records"]?.stringMap
      #expect(records == [:], "\(bad)")
    }
    cloud.web.dnsDomain = "a\"; drop"
    #expect(row(cloud.model, .dns, key) == nil)
    #expect(row(cloud.model, .dhcpOptions, id(1, SubnetID.self).uuid)?["options"]?.stringMap?["domain_name"] == nil)
  }

  @Test("a gateway lets out what is translated, and what is routed to the router's project; nothing else")
  func sources() {
    var cloud = SampleCloud()
    func policies() -> [String: [String]] {
      let desired = NorthboundState(cloud.model).desired
      let rows = desired.keys.filter { $0.table == .policy }.compactMap { desired[$0] }
      return Dictionary(grouping: rows) { $0["action"]?.string ?? "" }.mapValues { rows in
        rows.compactMap { $0["match"]?.string }.map { String($0.split(separator: " && ")[1]) }.sorted()
      }
    }
    #expect(policies() == ["drop": ["ip"], "allow": ["ip4.src == {10.0.0.0/24, 10.0.1.0/24, 203.0.113.10}"]])
    cloud.outside.routedBlocks = [
      .init(project: SampleCloud.project, cidr: block("fd00:2::/48")),
      .init(project: id(2), cidr: block("fd00:1::/48")),
      .init(project: SampleCloud.project, cidr: block("10.0.1.0/25")),
    ]
    #expect(policies()["allow"]?.last == "ip6.src == {fd00:2::/64}")
    cloud.router.gateway?.usesSNAT = false
    // What has a floating IP is translated still; of a block that is routed in part nothing goes out.
    #expect(
      policies()["allow"] == ["ip4.src == 10.0.0.11", "ip4.src == {203.0.113.10}", "ip6.src == {fd00:2::/64}"])
    cloud.outside.routedBlocks.append(.init(project: SampleCloud.project, cidr: block("10.0.1.0/24")))
    #expect(policies()["allow"]?.contains("ip4.src == {10.0.1.0/24, 203.0.113.10}") == true)
  }

  @Test("a gateway whose wire takes smaller packets than guests send says so")
  func gatewayMTU() {
    var cloud = SampleCloud()
    func options() -> [String: String]? {
      row(cloud.model, .logicalRouterPort, Names.gatewayPort(cloud.router.id))?["options"]?.stringMap
    }
    #expect(options() == [:])
    cloud.data.mtu = 8942
    #expect(options() == ["gateway_mtu": "1500"])
    cloud.outside.mtu = 9000
    #expect(options() == [:])
  }

  @Test("a port whose VM is on no node is nobody's to claim")
  func unclaimed() {
    var cloud = SampleCloud()
    func options() -> [String: String]? {
      row(cloud.model, .logicalSwitchPort, cloud.nics[0].id.uuid)?["options"]?.stringMap
    }
    #expect(options() == ["requested-chassis": "nobody"])
    cloud.nics[0].node = id(3)
    #expect(options() == ["requested-chassis": id(3, NodeID.self).description])
  }

  @Test("a gateway without a node is no gateway, and a rule whose group is gone lets nothing through")
  func unusable() {
    var cloud = SampleCloud()
    cloud.outside.nodes = []
    let state = NorthboundState(cloud.model)
    #expect(!state.desired.keys.contains { $0.table == .nat || $0.table == .haChassisGroup })
    var without = NorthboundState(SampleCloud().model)
    let rule = RowKey(table: .acl, id: id(22, SecurityGroupRuleID.self).uuid)
    #expect(without.desired[rule] != nil)
    #expect(without.apply([.remove(.securityGroup(id(1)))]).contains(rule))
    #expect(without.desired[rule] == nil)
  }

  @Test("a node more or less at an external network changes few groups of nodes, and nothing of any router")
  func gatewayNodes() {
    var cloud = SampleCloud()
    cloud.outside.nodes = Set((1...40).map { id($0) })
    var state = NorthboundState(cloud.model)
    for number: UInt64 in 2...300 {
      var router = cloud.router
      router.id = id(number)
      router.interfaces = []
      state.apply([.put(.router(router))])
    }
    let groups = Set(
      state.desired.keys.filter { $0.table == .logicalRouterPort }.compactMap {
        state.desired[$0]?["ha_chassis_group"]?.uuid
      })
    #expect(groups.count == GatewayShare.count)
    let begin = members(of: state)
    #expect(begin.allSatisfy { $0.value.count == GatewayShare.nodesAtMost })
    #expect(Set(begin.values.joined()).count > 30, "the load is spread")

    let newcomer: NodeID = id(41)
    for nodes in [cloud.outside.nodes.union([newcomer]), cloud.outside.nodes] {
      cloud.outside.nodes = nodes
      let before = members(of: state)
      let touched = state.apply([.put(.externalNetwork(cloud.outside))])
      #expect(Set(touched.map(\.table)).isSubset(of: [.haChassisGroup, .haChassis]))
      let after = members(of: state)
      let changed = after.filter { before[$0.key] != $0.value }
      #expect(1...24 ~= changed.count && touched.count < 150, "\(changed.count) groups, \(touched.count) rows")
      #expect(changed.allSatisfy { ($0.value + (before[$0.key] ?? [])).contains(newcomer.description) })
    }
    #expect(members(of: state) == begin)
  }

  @Test("a node that is spared carries a gateway only where no other can")
  func sparedNodes() {
    var cloud = SampleCloud()
    cloud.outside.nodes = Set((1...6).map { id($0) })
    cloud.outside.sparedNodes = [id(1)]
    #expect(
      members(of: NorthboundState(cloud.model)).values.allSatisfy { !$0.contains(id(1, NodeID.self).description) })
    cloud.outside.nodes = [id(1), id(2)]
    let both = [id(2, NodeID.self), id(1, NodeID.self)].map(\.description)
    #expect(members(of: NorthboundState(cloud.model)).values.allSatisfy { $0 == both })
  }

  /// The nodes of the groups that carry gateways, best first.
  private func members(of state: NorthboundState) -> [UUID: [String]] {
    let groups = state.desired.keys.filter { $0.table == .haChassisGroup }.map { key in
      let nodes = (state.desired[key]?["ha_chassis"]?.uuids ?? []).compactMap { id -> (Int64, String)? in
        let row = state.desired[RowKey(table: .haChassis, id: id)]
        guard let priority = row?["priority"]?.integer, let name = row?["chassis_name"]?.string else { return nil }
        return (priority, name)
      }
      return (key.id, nodes.sorted { $0 > $1 }.map(\.1))
    }
    return Dictionary(uniqueKeysWithValues: groups)
  }

  private func row(_ model: Model, _ table: Table, _ id: UUID) -> Row? {
    NorthboundState(model).desired[RowKey(table: table, id: id)]
  }
}
