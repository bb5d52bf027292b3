/// Addresses of one family from one to another, both among them.
public struct AddressRange: Sendable, Hashable, CustomStringConvertible {
  public let first: IPAddress
  public let last: IPAddress

  /// Nil when the ends are of two families or in the wrong order.
  public init?(_ first: IPAddress, _ last: IPAddress) {
    guard first.isIPv6 == last.isIPv6, first <= last else { return nil }
    self.first = first
    self.last = last
  }

  /// Reads `10.0.0.10-10.0.0.20`, or an address alone.
  public init?(_ text: String) {
    let parts = text.split(separator: "-", omittingEmptySubsequences: false).map { IPAddress(String($0)) }
    guard (1...2).contains(parts.count), let first = parts[0], let last = parts[parts.count - 1] else { return nil }
    self.init(first, last)
  }

  public func contains(_ address: IPAddress) -> Bool {
    address.isIPv6 == first.isIPv6 && first <= address && address <= last
  }

  /// How many addresses it has, or `Int.max` when there are more.
  public var count: Int {
    var distance: UInt64 = 0
    for (high, low) in zip(last.bytes, first.bytes) {
      let shifted = distance.multipliedReportingOverflow(by: 256)
      // A digit may be negative, never the whole: what is borrowed is there already.
      let digit = Int64(high) - Int64(low)
      let sum = Int64(truncatingIfNeeded: shifted.partialValue).addingReportingOverflow(digit)
      if shifted.overflow || sum.overflow || sum.partialValue < 0 { return .max }
      distance = UInt64(sum.partialValue)
    }
    return distance >= UInt64(Int.max) ? .max : Int(distance) + 1
  }

  /// What is left without `other`.
  public func subtracting(_ other: AddressRange) -> [AddressRange] {
    guard other.first.isIPv6 == first.isIPv6, other.first <= last, first <= other.last else { return [self] }
    var left: [AddressRange] = []
    if first < other.first, let end = other.first.predecessor, let part = AddressRange(first, end) { left.append(part) }
    if other.last < last, let begin = other.last.advanced(by: 1), let part = AddressRange(begin, last) {
      left.append(part)
    }
    return left
  }

  public var description: String { first == last ? "\(first)" : "\(first)-\(last)" }
}

extension IPAddress {
  /// The address before; nil for the first of all.
  public var predecessor: IPAddress? {
    var bytes = bytes
    for index in bytes.indices.reversed() {
      bytes[index] &-= 1
      if bytes[index] != 0xFF { return IPAddress(bytes: bytes) }
    }
    return nil
  }
}
