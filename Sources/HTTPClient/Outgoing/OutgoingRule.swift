import IPAddressing

// Invariants
//
// - What is not known to be a public unicast address is refused: a range that is given out tomorrow is closed until somebody
//   opens it.
// - The rule sees the address that is about to be connected to, never a name: a name that leads somewhere else a moment later
//   gains nothing (DNS rebinding).

/// Where requests may go whose URL was given by somebody who is not trusted: to public addresses, and to what the operator
/// allows.
public struct OutgoingRule: Sendable, Equatable {
  /// What is allowed although it is not public.
  public var allowed: [AddressBlock]

  public init(allowed: [AddressBlock] = []) { self.allowed = allowed }

  /// Why an address is refused: a closed list.
  public enum Refusal: String, Sendable, CaseIterable {
    case unspecified
    case loopback
    /// RFC 3927, RFC 4291; the metadata services of clouds are here.
    case linkLocal = "link_local"
    /// RFC 1918, RFC 4193 and the site-local addresses before it.
    case `private`
    /// RFC 6598: behind a carrier's NAT.
    case shared
    case multicast
    case broadcast
    case documentation
    /// RFC 2544.
    case benchmarking
    /// Not given out, or for protocols between machines and not for servers.
    case reserved

    /// In words, for whoever gave the URL.
    public var summary: String {
      switch self {
      case .unspecified: "unspecified"
      case .loopback: "loopback"
      case .linkLocal: "link-local"
      case .private: "private"
      case .shared: "carrier-grade NAT"
      case .multicast: "multicast"
      case .broadcast: "broadcast"
      case .documentation: "documentation"
      case .benchmarking: "benchmarking"
      case .reserved: "reserved"
      }
    }
  }

  /// Why a connection to an address is refused; nil: it may be made.
  public func refusal(of address: IPAddress) -> Refusal? {
    if allowed.contains(where: { $0.contains(address) }) { return nil }
    // What carries an IPv4 address inside leads there.
    if let inner = address.embeddedIPv4 { return refusal(of: inner) }
    let table = address.isIPv6 ? Self.refusedIPv6 : Self.refusedIPv4
    if let entry = table.first(where: { $0.block.contains(address) }) { return entry.refusal }
    return address.isIPv6 && !Self.isGlobalUnicast(address) ? .reserved : nil
  }

  /// `2000::/3`, all that is given out as global unicast (IANA, IPv6 Address Space).
  private static func isGlobalUnicast(_ address: IPAddress) -> Bool { address.bytes[0] >> 5 == 0b001 }

  private struct Entry {
    var block: AddressBlock
    var refusal: Refusal
  }

  private static func table(_ entries: [(String, Refusal)]) -> [Entry] {
    entries.compactMap { text, refusal in AddressBlock(text).map { Entry(block: $0, refusal: refusal) } }
  }

  /// IANA, IPv4 Special-Purpose Address Registry (RFC 6890). The first that fits counts.
  private static let refusedIPv4 = table([
    ("0.0.0.0/8", .unspecified), ("127.0.0.0/8", .loopback), ("169.254.0.0/16", .linkLocal),
    ("10.0.0.0/8", .private), ("172.16.0.0/12", .private), ("192.168.0.0/16", .private), ("100.64.0.0/10", .shared),
    ("192.0.2.0/24", .documentation), ("198.51.100.0/24", .documentation), ("203.0.113.0/24", .documentation),
    ("192.0.0.0/24", .reserved), ("192.88.99.0/24", .reserved), ("198.18.0.0/15", .benchmarking),
    ("224.0.0.0/4", .multicast), ("255.255.255.255/32", .broadcast), ("240.0.0.0/4", .reserved),
  ])

  /// IANA, IPv6 Special-Purpose Address Registry; what lies outside `2000::/3` and is not named is reserved.
  private static let refusedIPv6 = table([
    ("::/128", .unspecified), ("::1/128", .loopback), ("fe80::/10", .linkLocal), ("fec0::/10", .private),
    ("fc00::/7", .private), ("ff00::/8", .multicast), ("2001:db8::/32", .documentation), ("3fff::/20", .documentation),
    ("2001:2::/48", .benchmarking), ("2001::/23", .reserved),
  ])
}

extension IPAddress {
  /// The IPv4 address that connections to this one end at: mapped (RFC 4291 2.5.5.2), translated (RFC 6052, with the prefix
  /// that is known to all), 6to4 (RFC 3056). IPv4-compatible addresses, Teredo and local NAT64 prefixes are none: they are
  /// refused whatever they carry.
  fileprivate var embeddedIPv4: IPAddress? {
    guard isIPv6 else { return nil }
    let zeros = [UInt8](repeating: 0, count: 10)
    if bytes.starts(with: zeros + [0xFF, 0xFF]) { return IPAddress(bytes: bytes[12...]) }
    if bytes.starts(with: [0x00, 0x64, 0xFF, 0x9B] + zeros.prefix(8)) { return IPAddress(bytes: bytes[12...]) }
    if bytes.starts(with: [0x20, 0x02]) { return IPAddress(bytes: bytes[2..<6]) }
    return nil
  }
}
