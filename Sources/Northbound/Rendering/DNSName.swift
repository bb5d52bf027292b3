import IPAddressing

/// Names as OVN's DNS table has them: in lower case, and nothing in them that is not a letter, a digit, a hyphen or a dot.
enum DNSName {
  /// A host or domain name (RFC 1123, 2.1) in lower case; nil when it is none.
  static func normalized(_ text: String) -> String? {
    let name = text.lowercased()
    guard (1...253).contains(name.utf8.count) else { return nil }
    let labels = name.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    return labels.allSatisfy(isLabel) ? name : nil
  }

  /// Under which an address's name is asked for (RFC 1035, 3.5; RFC 3596, 2.5).
  static func reverse(_ address: IPAddress) -> String {
    guard address.isIPv6 else {
      return address.bytes.reversed().map(String.init).joined(separator: ".") + ".in-addr.arpa"
    }
    let nibbles = address.bytes.reversed().flatMap { [$0 & 0xF, $0 >> 4] }
    return nibbles.map { String($0, radix: 16) }.joined(separator: ".") + ".ip6.arpa"
  }

  private static func isLabel(_ label: Substring.UTF8View) -> Bool {
    guard (1...63).contains(label.count), label.first != hyphen, label.last != hyphen else { return false }
    return label.allSatisfy { byte in
      (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
        || byte == hyphen
    }
  }

  private static let hyphen = UInt8(ascii: "-")
}
