import AloftModel
import OVSDB

/// What an operator may set about networks.
public struct NetworkingSettings: Sendable {
  /// The largest packet between nodes, in bytes.
  public var underlayMTU = 1500
  /// In which VMs have names unless their network says otherwise.
  public var dnsDomain = "aloft.internal"
  /// OVN's northbound servers, as OVSDB names them; none: networks are kept and nothing is made of them.
  public var northbound: [String] = []
  /// For northbound servers over TLS.
  public var northboundTLS: TLSCredentials?
  /// OVN's southbound servers, as nodes reach them.
  public var southbound: [String] = []

  public init() {}

  /// The largest packet of a VM: Geneve puts 58 bytes around it (RFC 8926: 14 Ethernet, 20 IPv4, 8 UDP, 8 and OVN's 8 of options).
  public var largestMTU: Int { underlayMTU - 58 }

  /// What nodes are told; nil where the cloud has no networks.
  var fabric: NetworkFabric? { southbound.isEmpty ? nil : NetworkFabric(southbound: southbound) }
}
