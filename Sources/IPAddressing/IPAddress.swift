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
  public init?(socketAddress: UnsafeRawBufferPointer) {
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

  /// `fe80::/10` (RFC 4291, 2.5.6).
  public var isLinkLocal: Bool { isIPv6 && bytes[0] == 0xFE && bytes[1] & 0xC0 == 0x80 }

  /// The address that is `count` further; nil when the numbers end before.
  public func advanced(by count: UInt64) -> IPAddress? {
    var bytes = bytes
    var rest = count
    for index in bytes.indices.reversed() where rest > 0 {
      let sum = UInt64(bytes[index]) + (rest & 0xFF)
      bytes[index] = UInt8(truncatingIfNeeded: sum)
      rest = (rest >> 8) + (sum >> 8)
    }
    return rest == 0 ? IPAddress(bytes: bytes) : nil
  }

  public var description: String {
    var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    guard inet_ntop(isIPv6 ? AF_INET6 : AF_INET, bytes, &text, socklen_t(text.count)) != nil else { return "?" }
    return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}

extension IPAddress: Comparable {
  /// All IPv4 addresses come before all IPv6 addresses.
  public static func < (left: IPAddress, right: IPAddress) -> Bool {
    left.bytes.count == right.bytes.count
      ? left.bytes.lexicographicallyPrecedes(right.bytes) : left.bytes.count < right.bytes.count
  }
}
