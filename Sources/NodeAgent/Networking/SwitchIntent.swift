import AloftModel
import FoundationEssentials
import OVSDB

/// How Open vSwitch should be on this node. What it has beside that is not touched.
struct SwitchIntent: Sendable, Equatable {
  /// The chassis' name in OVN: the node's id, which is also the name in its certificate.
  var chassis: String
  /// OVN's southbound servers; none: nothing is done.
  var southbound: [String]
  var tunnelAddress: String?
  var bridgeMappings: [String: String] = [:]
  var datapath: Datapath
  var identity: SouthboundIdentity?
  var metadata = MetadataPorts()

  /// What brings Open vSwitch there; nothing when it is.
  func operations(for actual: LocalSwitch) -> [SwitchChange] {
    guard !southbound.isEmpty else { return [] }
    return settings(actual) + tls(actual) + bridges(actual) + metadataPorts(actual)
  }

  /// Open vSwitch's own name of the datapath.
  var datapathType: String { datapath == .kernel ? "system" : "netdev" }

  /// The keys of `external_ids` that ovn-controller reads (ovn-controller(8)).
  private var keys: [String: String] {
    var keys = [
      "system-id": chassis, "ovn-remote": southbound.joined(separator: ","), "ovn-encap-type": "geneve",
      "ovn-bridge-datapath-type": datapathType,
    ]
    keys["ovn-encap-ip"] = tunnelAddress
    if !bridgeMappings.isEmpty {
      keys["ovn-bridge-mappings"] = bridgeMappings.map { "\($0.key):\($0.value)" }.sorted().joined(separator: ",")
    }
    return keys
  }

  private func settings(_ actual: LocalSwitch) -> [SwitchChange] {
    let changed = keys.filter { actual.externalIDs[$0.key] != $0.value }
    guard !changed.isEmpty else { return [] }
    // Inserting alone would keep the values of keys that are there.
    return [
      .mutate(
        table: "Open_vSwitch", where: [.row(actual.id)],
        mutations: [
          Mutation("external_ids", .delete, .strings(changed.keys)), Mutation("external_ids", .insert, .map(changed)),
        ])
    ]
  }

  /// ovn-controller takes its key and certificate from Open vSwitch's own TLS settings, and reads the files again when they
  /// have changed.
  private func tls(_ actual: LocalSwitch) -> [SwitchChange] {
    guard southbound.contains(where: { $0.hasPrefix("ssl:") }), let identity, let authorities = identity.authorities
    else {
      return []
    }
    if let tls = actual.tls, tls.key == identity.key, tls.certificate == identity.certificate,
      tls.authorities == authorities
    {
      return []
    }
    let row: Row = [
      "private_key": .string(identity.key), "certificate": .string(identity.certificate),
      "ca_cert": .string(authorities), "bootstrap_ca_cert": false,
    ]
    if let tls = actual.tls { return [.update(table: "SSL", where: [.row(tls.id)], row: row)] }
    return [
      .insert(table: "SSL", row: row, as: .named("tls")),
      .update(table: "Open_vSwitch", where: [.row(actual.id)], row: ["ssl": .namedUUID("tls")]),
    ]
  }

  /// The bridges that lead to physical networks. All that are connected to OVN's have to be of one datapath.
  private func bridges(_ actual: LocalSwitch) -> [SwitchChange] {
    Set(bridgeMappings.values).sorted().enumerated().flatMap { index, name -> [SwitchChange] in
      if let bridge = actual.bridges[name] {
        let isRight = datapath == .kernel ? bridge.datapathType != "netdev" : bridge.datapathType == "netdev"
        if isRight { return [] }
        return [.update(table: "Bridge", where: [.row(bridge.id)], row: ["datapath_type": .string(datapathType)])]
      }
      return [
        .insert(
          table: "Interface", row: ["name": .string(name), "type": "internal"], as: .named("interface\(index)")),
        .insert(
          table: "Port", row: ["name": .string(name), "interfaces": .namedUUID("interface\(index)")],
          as: .named("port\(index)")),
        .insert(
          table: "Bridge",
          row: [
            "name": .string(name), "ports": .namedUUID("port\(index)"), "datapath_type": .string(datapathType),
          ], as: .named("bridge\(index)")),
        .mutate(
          table: "Open_vSwitch", where: [.row(actual.id)],
          mutations: [Mutation("bridges", .insert, .namedUUID("bridge\(index)"))]),
      ]
    }
  }

  private func metadataPorts(_ actual: LocalSwitch) -> [SwitchChange] {
    guard let integration = actual.integration, let wanted = metadata.wanted else { return [] }
    let stale = actual.ports.filter { device, port in
      device.hasPrefix(MetadataNetwork.devicePrefix) && port.logicalPort?.hasPrefix("metadata-") == true
        && wanted[device] != port.logicalPort
    }
    let missing = wanted.filter { metadata.ready.contains($0.key) && actual.ports[$0.key] == nil }
      .sorted { $0.key < $1.key }
    return stale.values.map(\.removal)
      + missing.enumerated().flatMap { index, entry in
        LocalSwitch.addition(
          of: entry.key, to: integration, externalIDs: ["iface-id": entry.value], name: "metadata\(index)")
      }
  }
}

/// The metadata service's ports of OVN's bridge.
struct MetadataPorts: Sendable, Equatable {
  /// Logical ports by devices; nil: not known yet, and what is there stays.
  var wanted: [String: String]?
  /// Devices that are there.
  var ready: Set<String> = []
}

extension LocalSwitch {
  /// What adds a port for a network device that is there. `name` tells it from others of the same transaction.
  static func addition(of device: String, to bridge: Bridge, externalIDs: [String: String], name: String)
    -> [SwitchChange]
  {
    [
      .insert(
        table: "Interface", row: ["name": .string(device), "external_ids": .map(externalIDs)], as: .named("i_" + name)),
      .insert(
        table: "Port", row: ["name": .string(device), "interfaces": .namedUUID("i_" + name)], as: .named("p_" + name)),
      .mutate(
        table: "Bridge", where: [.row(bridge.id)], mutations: [Mutation("ports", .insert, .namedUUID("p_" + name))]),
    ]
  }
}

extension LocalSwitch.Port {
  /// What removes it. A new port of the same name is one only in a later transaction.
  var removal: SwitchChange {
    .mutate(table: "Bridge", where: [.row(bridge)], mutations: [Mutation("ports", .delete, .uuid(id))])
  }
}
