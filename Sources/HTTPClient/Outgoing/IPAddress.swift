import Glibc

/// An IPv4 or IPv6 address: its 4 or 16 bytes in network order.
public struct IPAddress: Sendable, Hashable, CustomStringConvertible {
  /// 4 or 16 bytes.
  public let bytes: [UInt8]

  /// Nil unless there are 4 or 16 bytes.
  public init?(bytes: some Sequence<UInt8>) {
    let bytes = Array(bytes)
    guard bytes.count == 4 || bytes.count == 16 else { return nil }
    self.bytes = bytes
  }

  /// Reads `192.0.2.1` (four decimal numbers, nothing shorter) or an IPv6 address (RFC 4291, 2.2) without brackets and zone.
  public init?(_ text: String) {
    let isIPv6 = text.contains(":")
    var bytes = [UInt8](repeating: 0, count: isIPv6 ? 16 : 4)
    guard inet_pton(isIPv6 ? AF_INET6 : AF_INET, text, &bytes) == 1 else { return nil }
    self.bytes = bytes
  }

  /// The address in a socket address; nil for another family than IPv4 and IPv6.
  init?(socketAddress: UnsafeRawBufferPointer) {
    guard socketAddress.count >= MemoryLayout<sockaddr>.size else { return nil }
    let range: Range<Int>
    switch Int32(socketAddress.loadUnaligned(as: sockaddr.self).sa_family) {
    case AF_INET: range = 4..<8
    case AF_INET6: range = 8..<24
    default: return nil
    }
    guard socketAddress.count >= range.upperBound else { return nil }
    self.init(bytes: socketAddress[range])
  }

  public var isIPv6: Bool { bytes.count == 16 }

  public var description: String {
    var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    guard inet_ntop(isIPv6 ? AF_INET6 : AF_INET, bytes, &text, socklen_t(text.count)) != nil else { return "?" }
    return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}

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

  public var description: String { "\(base)/\(length)" }

  private static func masked(_ bytes: [UInt8], _ length: Int) -> [UInt8] {
    bytes.enumerated().map { index, byte in
      let kept = min(8, max(0, length - index * 8))
      return byte & UInt8(truncatingIfNeeded: 0xFF00 >> kept)
    }
  }
}
