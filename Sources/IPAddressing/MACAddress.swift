/// An EUI-48 address of a network interface.
public struct MACAddress: Sendable, Hashable, CustomStringConvertible {
  /// Six bytes.
  public let bytes: [UInt8]

  /// Nil unless there are six bytes.
  public init?(bytes: some Sequence<UInt8>) {
    let bytes = Array(bytes)
    guard bytes.count == 6 else { return nil }
    self.bytes = bytes
  }

  /// Reads `02:00:5e:10:00:ff`, in upper or lower case.
  public init?(_ text: String) {
    let parts = text.utf8.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
    let bytes = parts.compactMap { part -> UInt8? in
      let digits = part.compactMap { Character(UnicodeScalar($0)).hexDigitValue }
      return part.count == 2 && digits.count == 2 ? UInt8(digits[0] << 4 | digits[1]) : nil
    }
    guard parts.count == 6, bytes.count == 6 else { return nil }
    self.bytes = bytes
  }

  /// A locally administered unicast address (IEEE 802, second bit of the first byte) out of 46 bits of `seed`.
  public init(locallyAdministered seed: UInt64) {
    let drawn = (0..<6).map { UInt8(truncatingIfNeeded: seed >> (8 * (5 - $0))) }
    bytes = [drawn[0] & 0xFC | 0x02] + drawn.dropFirst()
  }

  /// Whether it names a group of interfaces and so none alone.
  public var isMulticast: Bool { bytes[0] & 1 == 1 }

  /// The address that an interface gives itself in a /64 (RFC 4291, appendix A: modified EUI-64); nil in other blocks.
  public func autoconfigured(in block: AddressBlock) -> IPAddress? {
    guard block.isIPv6, block.length == 64 else { return nil }
    return IPAddress(bytes: block.base.bytes.prefix(8) + [bytes[0] ^ 2, bytes[1], bytes[2], 0xFF, 0xFE] + bytes[3...])
  }

  public var description: String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":")
  }
}
