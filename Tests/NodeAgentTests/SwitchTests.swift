import AloftModel
import Foundation
import IPAddressing
import OVSDB
import Testing

@testable import NodeAgent

@Suite("Open vSwitch as it should be")
struct SwitchTests {
  static let node = NodeID(UUID.v7(milliseconds: 5, random: (5, 5)))
  static let identity = SouthboundIdentity(
    node: node, certificate: "/i/node.pem", key: "/i/key.pem", authorities: "/i/ca")

  func intent(_ datapath: Datapath = .userspace, southbound: [String] = ["ssl:192.0.2.1:6642"]) -> SwitchIntent {
    SwitchIntent(
      chassis: Self.node.description, southbound: southbound, tunnelAddress: "192.0.2.7",
      bridgeMappings: ["external": "br-ex", "backbone": "br-bb"], datapath: datapath, identity: Self.identity)
  }

  /// As the intent above wants it.
  func good(_ datapath: String = "netdev") -> LocalSwitch {
    var actual = LocalSwitch(
      id: UUID(),
      externalIDs: [
        "system-id": Self.node.description, "ovn-remote": "ssl:192.0.2.1:6642", "ovn-encap-type": "geneve",
        "ovn-encap-ip": "192.0.2.7", "ovn-bridge-mappings": "backbone:br-bb,external:br-ex",
        "ovn-bridge-datapath-type": datapath, "somebody": "else's",
      ])
    actual.tls = LocalSwitch.TLS(id: UUID(), key: "/i/key.pem", certificate: "/i/node.pem", authorities: "/i/ca")
    for name in ["br-ex", "br-bb", "br-int"] {
      actual.bridges[name] = LocalSwitch.Bridge(id: UUID(), datapathType: datapath, ports: [])
    }
    return actual
  }

  @Test("what is as it should be is left alone, and nothing is done before there are southbound servers")
  func rest() {
    #expect(intent().operations(for: good()).isEmpty)
    #expect(intent(.kernel).operations(for: good("system")).isEmpty)
    #expect(intent(southbound: []).operations(for: LocalSwitch(id: UUID())).isEmpty)
  }

  @Test("only keys that differ are replaced")
  func keys() {
    var actual = good()
    actual.externalIDs["system-id"] = "of the distribution"
    actual.externalIDs["ovn-encap-ip"] = nil
    let changed = ["system-id": Self.node.description, "ovn-encap-ip": "192.0.2.7"]
    #expect(
      intent().operations(for: actual) == [
        .mutate(
          table: "Open_vSwitch", where: [.row(actual.id)],
          mutations: [
            Mutation("external_ids", .delete, .strings(changed.keys)), Mutation("external_ids", .insert, .map(changed)),
          ])
      ])
    // What the operator has mapped by hand stays when the agent was told nothing.
    var silent = intent()
    silent.bridgeMappings = [:]
    actual = good()
    actual.externalIDs["ovn-bridge-mappings"] = "by:hand"
    #expect(silent.operations(for: actual).isEmpty)
  }

  @Test("ovn-controller gets the node's certificate only where southbound servers speak TLS")
  func tls() {
    var actual = good()
    actual.tls?.certificate = "/old"
    #expect(intent().operations(for: actual).count == 1)
    actual.tls = nil
    #expect(intent().operations(for: actual).count == 2)
    actual.externalIDs["ovn-remote"] = "tcp:192.0.2.1:6642"
    #expect(intent(southbound: ["tcp:192.0.2.1:6642"]).operations(for: actual).isEmpty)
    var nobody = intent()
    nobody.identity?.authorities = nil
    actual.externalIDs["ovn-remote"] = "ssl:192.0.2.1:6642"
    #expect(nobody.operations(for: actual).isEmpty)
  }

  @Test("bridges to physical networks are made, and those of the wrong datapath are corrected")
  func bridges() {
    var actual = good()
    actual.bridges["br-ex"]?.datapathType = ""
    let operations = intent().operations(for: actual)
    #expect(operations.count == 1)
    actual.bridges["br-bb"] = nil
    #expect(intent().operations(for: actual).count == 5)
    #expect(intent(.kernel).operations(for: good("")).count == 1, "only the key of the datapath")
  }

  @Test("the metadata service's ports come when their device is there, and go with their network")
  func metadata() {
    var actual = good()
    var intent = intent()
    intent.metadata = MetadataPorts(wanted: ["am1": "metadata-1"])
    #expect(intent.operations(for: actual).isEmpty, "its device is not there")
    intent.metadata.ready = ["am1"]
    #expect(intent.operations(for: actual).count == 3)
    actual.ports["am1"] = LocalSwitch.Port(
      id: UUID(), bridge: UUID(), externalIDs: ["iface-id": "metadata-1"])
    actual.ports["amanda"] = LocalSwitch.Port(id: UUID(), bridge: UUID(), externalIDs: ["iface-id": "other"])
    #expect(intent.operations(for: actual).isEmpty)
    intent.metadata = MetadataPorts()
    #expect(intent.operations(for: actual).isEmpty, "an agent that has just begun knows nothing of networks")
    intent.metadata.wanted = [:]
    #expect(intent.operations(for: actual) == [actual.ports["am1"]?.removal])
    // OVN makes its bridge itself.
    actual.bridges["br-int"] = nil
    #expect(intent.operations(for: actual).isEmpty)
  }

  @Test("the operator's mappings are checked")
  func mappings() {
    #expect(NetworkSettings.mapping("external=br-ex")?.bridge == "br-ex")
    for text in ["", "external", "=br-ex", "external=", "a=b=c", "a:b=br", "a,b=br", "x=sixteen-letters-"] {
      #expect(NetworkSettings.mapping(text) == nil, "\(text)")
    }
  }
}

@Suite("Care of ports")
struct PortCareTests {
  static let nic = DomainNIC(id: .sample(1), mac: "02:00:00:00:00:01")
  let vm = VMID.sample(1)
  let device = NICSpecification.device(of: nic.id)

  func port(_ logical: String = nic.id.port, error: String? = nil) -> LocalSwitch.Port {
    LocalSwitch.Port(id: UUID(), bridge: UUID(), externalIDs: ["iface-id": logical], error: error)
  }

  /// What is done at first sight, and what when nothing changes for long enough.
  func repairs(
    _ ports: [String: LocalSwitch.Port], _ guests: [VMID: [DomainNIC]] = [:], open: [String: Bool] = [:]
  ) -> [PortCare.Repair] {
    var care = PortCare()
    #expect(care.repairs(ports: ports, guests: guests, isOpen: { open[$0] }, now: 1_000).isEmpty)
    return care.repairs(ports: ports, guests: guests, isOpen: { open[$0] }, now: 1_000 + PortCare.patience)
  }

  @Test("a port that no guest has is removed; others' ports are never touched")
  func unowned() {
    #expect(repairs([device: port()]) == [.remove(device: device)])
    #expect(repairs([device: port()], [vm: [Self.nic]], open: [device: true]).isEmpty)
    #expect(repairs(["vnet0": port(), "eth0": port("")]).isEmpty)
    #expect(repairs([device: port(NICID.sample(2).port)]).isEmpty, "a device that has another NIC's name")
    #expect(repairs(["avocado": port("x")]).isEmpty)
  }

  @Test("a guest whose port is gone gets it again, as soon as its device is there")
  func missing() {
    #expect(
      repairs([:], [vm: [Self.nic]], open: [device: true]) == [.add(device: device, nic: Self.nic, vm: vm)])
    #expect(repairs([:], [vm: [Self.nic]]).isEmpty)
  }

  @Test("a port whose device is another one by now is removed and added again")
  func dead() {
    let owned = [vm: [Self.nic]]
    let replacement = PortCare.Repair.replace(device: device, nic: Self.nic, vm: vm)
    #expect(repairs([device: port()], owned, open: [device: false]) == [replacement])
    #expect(repairs([device: port(error: "could not open")], owned, open: [device: true]) == [replacement])
    #expect(repairs([device: port()], owned).isEmpty, "its device is gone: so is the guest, soon")
    #expect(repairs(["am1": port("metadata-1")], open: ["am1": false]) == [.remove(device: "am1")])
  }

  @Test("what passes by itself begins anew when it comes again")
  func patience() {
    var care = PortCare()
    let look = { (care: inout PortCare, owned: Bool, now: Int) in
      care.repairs(ports: [device: port()], guests: owned ? [vm: [Self.nic]] : [:], isOpen: { _ in true }, now: now)
    }
    #expect(look(&care, false, 0).isEmpty)
    #expect(look(&care, true, 5_000).isEmpty)
    #expect(look(&care, false, 10_000).isEmpty)
    #expect(look(&care, false, 17_999).isEmpty)
    #expect(look(&care, false, 18_000) == [.remove(device: device)])
  }
}
