/// A range of addresses with a common beginning (RFC 4632): `10.0.0.0/8`, `fc00::/7`.
public struct AddressBlock: Sendable, Hashable, CustomStringConvertible {
  public let base: IPAddress
  /// How many bits at the front are common.
  public let length: Int

  /// Reads `ADDRESS/LENGTH`, or an address alone for the block that holds nothing else. Nil when it is neither, and when bits
  /// behind the length are set: `10.1.2.3/8` may be meant in two ways.
  public init?(_ text: String) {
    let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    guard let first = parts.first, let base = IPAddress(first) else { return nil }
    let width = base.bytes.count * 8
    guard let length = parts.count == 2 ? Int(parts[1]) : width, (0...width).contains(length) else { return nil }
    guard Self.masked(base.bytes, length) == base.bytes else { return nil }
    self.base = base
    self.length = length
  }

  public func contains(_ address: IPAddress) -> Bool {
    address.isIPv6 == base.isIPv6 && Self.masked(address.bytes, length) == base.bytes
  }

  public func contains(_ other: AddressBlock) -> Bool { length <= other.length && contains(other.base) }

  /// Whether some address is in both.
  public func overlaps(_ other: AddressBlock) -> Bool { contains(other.base) || other.contains(base) }

  public var isIPv6: Bool { base.isIPv6 }

  /// How many bits at the back tell its addresses apart.
  public var hostBits: Int { base.bytes.count * 8 - length }

  /// Its last address; in IPv4 that is the broadcast address.
  public var last: IPAddress {
    let bytes = base.bytes.enumerated().map { index, byte in
      byte | UInt8(truncatingIfNeeded: 0xFF >> min(8, max(0, length - index * 8)))
    }
    return IPAddress(bytes: bytes) ?? base
  }

  /// The block of this length that holds an address; nil when there is no such length.
  public init?(of address: IPAddress, length: Int) {
    guard (0...address.bytes.count * 8).contains(length) else { return nil }
    guard let base = IPAddress(bytes: Self.masked(address.bytes, length)) else { return nil }
    self.base = base
    self.length = length
  }

  public var description: String { "\(base)/\(length)" }

  private static func masked(_ bytes: [UInt8], _ length: Int) -> [UInt8] {
    bytes.enumerated().map { index, byte in
      let kept = min(8, max(0, length - index * 8))
      return byte & UInt8(truncatingIfNeeded: 0xFF00 >> kept)
    }
  }
}
