import AloftModel
import IPAddressing

/// A network whose VMs of this node are to find the metadata service.
struct MetadataNetwork: Sendable, Hashable {
  var id: NetworkID
  var mtu: Int
  /// In which its VMs have their names.
  var dnsDomain: String?
  /// Its addresses beside the two that are everywhere, with the length of their subnet.
  var addresses: [String]

  static let devicePrefix = "am"
  /// In the namespace.
  static let innerDevice = "metadata"
  static let ipv4 = "169.254.169.254"
  static let ipv6 = "fe80::a9fe:a9fe"
  /// It can be switched off.
  static var kernelKnowsIPv6: Bool { FileSystem.exists("/proc/sys/net/ipv6") }

  /// What the names of this node's namespaces begin with. Agents of several nodes can be on one host, in a lab.
  static func namespacePrefix(of node: NodeID) -> String { "aloft-md-\(Self.tail(node.uuid.uuidString, 6))-" }

  func namespace(on node: NodeID) -> String { Self.namespacePrefix(of: node) + tail }

  /// The device on the host that is a port of OVN's bridge.
  var device: String { Self.devicePrefix + tail }

  /// The random bits at the end of its id.
  private var tail: String { Self.tail(id.uuid.uuidString, 12) }

  private static func tail(_ uuid: String, _ count: Int) -> String { String(uuid.lowercased().suffix(count)) }

  /// The networks of these VMs.
  static func all(of documents: [Assignment]) -> [MetadataNetwork] {
    var networks: [NetworkID: MetadataNetwork] = [:]
    for document in documents {
      let used = Set((document.nics ?? []).map(\.network))
      for network in document.networks ?? [] where used.contains(network.id) {
        networks[network.id] = MetadataNetwork(
          id: network.id, mtu: network.mtu, dnsDomain: network.dnsDomain, addresses: network.metadataAddresses)
      }
    }
    return networks.values.sorted { $0.id.description < $1.id.description }
  }
}

/// Who the VMs of this node are, by what nobody can claim: the network that a request comes from, and its source address,
/// which OVN lets a NIC use only if it is its own.
struct MetadataDirectory: Sendable {
  var documents: [Assignment] = []

  func guest(in network: NetworkID, at source: IPAddress) -> Assignment? {
    documents.first { document in
      (document.nics ?? []).contains { nic in nic.network == network && nic.has(source) }
    }
  }
}

extension Assignment.NIC {
  fileprivate func has(_ source: IPAddress) -> Bool {
    if source.isLinkLocal {
      return MACAddress(mac).flatMap { mac in AddressBlock("fe80::/64").flatMap(mac.autoconfigured) } == source
    }
    return addresses.contains { IPAddress(String($0.prefix { $0 != "/" })) == source }
  }
}
