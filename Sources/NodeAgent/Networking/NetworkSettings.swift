import AloftModel
import IPAddressing
import OVSDB

/// How the datapath is chosen.
public enum DatapathSetting: String, Sendable, CaseIterable { case auto, kernel, userspace }

/// What the operator says of the node's part in networks.
public struct NetworkSettings: Sendable, Hashable {
  /// Open vSwitch's database: `unix:/run/openvswitch/db.sock`.
  public var ovs: String
  /// Where other nodes send packets for this one, of IPv4, which the MTU of networks counts with; nil: the address from which this one reaches OVN's southbound servers.
  public var tunnelAddress: IPAddress?
  /// Bridges by the names of the physical networks that they lead to. None: what Open vSwitch has been told stays.
  public var bridgeMappings: [String: String]
  public var datapath: DatapathSetting

  public static let defaultOVS = "unix:/run/openvswitch/db.sock"

  public init(
    ovs: String = Self.defaultOVS, tunnelAddress: IPAddress? = nil, bridgeMappings: [String: String] = [:],
    datapath: DatapathSetting = .auto
  ) {
    self.ovs = ovs
    self.tunnelAddress = tunnelAddress
    self.bridgeMappings = bridgeMappings
    self.datapath = datapath
  }

  /// Reads `PHYSICAL=BRIDGE`. Nil when it is not that, or when OVN or the kernel could not take one of the names.
  public static func mapping(_ text: String) -> (physical: String, bridge: String)? {
    let parts = text.split(separator: "=", omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 2, parts.allSatisfy(isName), parts[1].utf8.count <= 15 else { return nil }
    return (parts[0], parts[1])
  }

  /// Why `--ovs` cannot be used; nil when it can.
  public static func fault(ofRemote text: String) -> String? {
    do throws(OVSDBError) {
      if case .tls = try Remote(text) {
        return "'\(text)': Open vSwitch is on the same host; unix:/path or tcp:address:port"
      }
      return nil
    } catch { return error.message }
  }

  private static func isName(_ text: String) -> Bool {
    let isAllowed = { (byte: UInt8) in
      UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte || UInt8(ascii: "A")...UInt8(ascii: "Z") ~= byte
        || UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte || "-_.".utf8.contains(byte)
    }
    return !text.isEmpty && text.utf8.count <= 63 && text.utf8.allSatisfy(isAllowed)
  }
}

/// What the node shows OVN's southbound servers, and by what it knows them. The files change in place.
public struct SouthboundIdentity: Sendable, Hashable {
  public var node: NodeID
  public var certificate: String
  public var key: String
  /// Nil when no authority is known: southbound servers over TLS cannot be used then.
  public var authorities: String?

  public init(node: NodeID, certificate: String, key: String, authorities: String?) {
    self.node = node
    self.certificate = certificate
    self.key = key
    self.authorities = authorities
  }
}
