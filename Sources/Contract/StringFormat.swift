import FoundationEssentials
import Glibc
import JSON

/// The formats of strings that are checked; names as in the JSON Schema and OpenAPI registries where those have one.
enum StringFormat: String, Sendable, CaseIterable {
  case dateTime = "date-time"
  case date
  case uuid
  case uri
  case uriReference = "uri-reference"
  case ipv4
  case ipv6
  /// An IPv4 or IPv6 network with no host bits set, as PostgreSQL's `cidr` wants it.
  case cidr
  /// An IEEE 802 address, `52:54:00:12:34:56`.
  case mac
  case hostname
  /// Base64 (RFC 4648 section 4).
  case byte
  /// 64 lower-case hexadecimal digits.
  case sha256
  case email

  /// Formats that promise nothing that could be checked in text or that belong to numbers.
  static let unchecked: Set<String> = ["binary", "password", "int32", "int64", "float", "double"]

  /// What a value in this format looks like, for messages.
  var example: String {
    switch self {
    case .dateTime: "an RFC 3339 time such as 2026-02-03T04:05:06Z"
    case .date: "a date such as 2026-02-03"
    case .uuid: "a UUID such as f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
    case .uri: "an absolute URI such as https://example.org/image.qcow2"
    case .uriReference: "a URI or a path such as /v1/vms"
    case .ipv4: "an IPv4 address such as 192.0.2.10"
    case .ipv6: "an IPv6 address such as 2001:db8::10"
    case .cidr: "a network such as 192.0.2.0/24, with no host bits set"
    case .mac: "a MAC address such as 52:54:00:12:34:56"
    case .hostname: "a host name of letters, digits and inner hyphens (RFC 1123)"
    case .byte: "base64 text"
    case .sha256: "a SHA-256 as 64 lower-case hexadecimal digits"
    case .email: "an e-mail address"
    }
  }

  func matches(_ text: String) -> Bool {
    switch self {
    case .dateTime: RFC3339.date(from: text) != nil
    case .date: text.utf8.count == 10 && RFC3339.date(from: text + "T00:00:00Z") != nil
    case .uuid: text.utf8.count == 36 && UUID(uuidString: text) != nil
    case .uri: Self.isURI(text)
    case .uriReference: Self.hasOnlyURICharacters(text)
    case .ipv4: Self.address(text, AF_INET) != nil
    case .ipv6: Self.address(text, AF_INET6) != nil
    case .cidr: Self.isNetwork(text)
    case .mac: Self.isMAC(text)
    case .hostname: Self.isHostname(text)
    case .byte: Self.isBase64(text)
    case .sha256: text.utf8.count == 64 && text.utf8.allSatisfy { Self.isDigit($0) || (0x61...0x66).contains($0) }
    case .email: Self.isEmail(text)
    }
  }

  private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
  private static func isLetter(_ byte: UInt8) -> Bool { (0x61...0x7A).contains(byte | 0x20) }

  private static func isURI(_ text: String) -> Bool {
    guard let colon = text.utf8.firstIndex(of: UInt8(ascii: ":")), hasOnlyURICharacters(text) else { return false }
    let scheme = text.utf8[..<colon]
    guard let first = scheme.first, isLetter(first) else { return false }
    return text.utf8.index(after: colon) < text.utf8.endIndex
      && scheme.allSatisfy { isLetter($0) || isDigit($0) || "+-.".utf8.contains($0) }
  }

  private static func hasOnlyURICharacters(_ text: String) -> Bool {
    var escapeDigits = 0
    for byte in text.utf8 {
      if escapeDigits > 0 {
        guard isDigit(byte) || (0x61...0x66).contains(byte | 0x20) else { return false }
        escapeDigits -= 1
      } else if byte == UInt8(ascii: "%") {
        escapeDigits = 2
      } else if !isLetter(byte), !isDigit(byte), !"-._~:/?#[]@!$&'()*+,;=".utf8.contains(byte) {
        return false
      }
    }
    return escapeDigits == 0
  }

  /// The address's bytes in network order.
  private static func address(_ text: String, _ family: Int32) -> [UInt8]? {
    // inet_pton reads up to a NUL, which would hide what follows.
    guard !text.utf8.contains(0) else { return nil }
    var bytes = [UInt8](repeating: 0, count: family == AF_INET ? 4 : 16)
    return inet_pton(family, text, &bytes) == 1 ? bytes : nil
  }

  private static func isNetwork(_ text: String) -> Bool {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 2, let length = Int(parts[1]), String(length) == parts[1], length >= 0 else { return false }
    let host = String(parts[0])
    guard let bytes = address(host, AF_INET) ?? address(host, AF_INET6), length <= bytes.count * 8 else { return false }
    return bytes.enumerated().allSatisfy { position, byte in
      let networkBits = min(max(length - position * 8, 0), 8)
      return Int(byte) & (0xFF >> networkBits) == 0
    }
  }

  private static func isMAC(_ text: String) -> Bool {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    return parts.count == 6
      && parts.allSatisfy { part in
        part.utf8.count == 2 && part.utf8.allSatisfy { isDigit($0) || (0x61...0x66).contains($0 | 0x20) }
      }
  }

  private static func isHostname(_ text: String) -> Bool {
    guard (1...253).contains(text.utf8.count) else { return false }
    return text.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
      (1...63).contains(label.utf8.count) && label.utf8.first != UInt8(ascii: "-")
        && label.utf8.last != UInt8(ascii: "-")
        && label.utf8.allSatisfy { isLetter($0) || isDigit($0) || $0 == UInt8(ascii: "-") }
    }
  }

  private static func isBase64(_ text: String) -> Bool {
    let bytes = text.utf8
    guard bytes.count % 4 == 0 else { return false }
    let padding = bytes.suffix(2).count { $0 == UInt8(ascii: "=") }
    let body = bytes.dropLast(padding)
    return body.allSatisfy { isLetter($0) || isDigit($0) || $0 == UInt8(ascii: "+") || $0 == UInt8(ascii: "/") }
  }

  private static func isEmail(_ text: String) -> Bool {
    let parts = text.split(separator: "@", omittingEmptySubsequences: false)
    return parts.count == 2 && (1...64).contains(parts[0].utf8.count)
      && parts[0].utf8.allSatisfy { $0 > 0x20 && $0 != 0x7F } && isHostname(String(parts[1]))
  }
}
