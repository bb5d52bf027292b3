import AloftModel

/// The form of an API token's secret: `aloft_`, 256 random bits as 64 lower-case hexadecimal digits, and the CRC-32 of these
/// digits as 8 more.
///
/// Prefix and checksum are for scanners that look for secrets where none belong, and for whoever copies half of one: what
/// nobody can have made is refused without asking the database. Tokens from before have no checksum.
enum TokenSecret {
  static let prefix = "aloft_"
  private static let randomDigits = 64
  private static let checkDigits = 8

  static func make(_ environment: Environment) -> String {
    let digits = environment.newSecret(words: 4)
    return prefix + digits + checksum(digits.utf8)
  }

  /// Throws what is wrong with a text that was never a token.
  static func check(_ secret: String) throws(Problem) {
    guard secret.utf8.starts(with: prefix.utf8) else {
      throw Problem(.tokenInvalid, "this is no API token of Aloft: they begin with \(prefix)")
    }
    let digits = secret.utf8.dropFirst(prefix.utf8.count)
    let isWhole =
      digits.count == randomDigits + checkDigits
      && digits.suffix(checkDigits).elementsEqual(checksum(digits.prefix(randomDigits)).utf8)
    guard digits.allSatisfy(isDigit), isWhole || digits.count == randomDigits else {
      throw Problem(.tokenInvalid, "the token is mistyped or cut off: its checksum does not fit; copy the whole token")
    }
  }

  private static func isDigit(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte)
  }

  private static func checksum(_ bytes: some Sequence<UInt8>) -> String {
    let text = String(CRC32.of(bytes), radix: 16)
    return String(repeating: "0", count: checkDigits - text.count) + text
  }
}

/// CRC-32 as in zlib, PNG and Ethernet (ISO 3309; reflected, polynomial 0xEDB88320).
enum CRC32 {
  static func of(_ bytes: some Sequence<UInt8>) -> UInt32 {
    var remainder: UInt32 = .max
    for byte in bytes {
      remainder ^= UInt32(byte)
      for _ in 0..<8 { remainder = (remainder >> 1) ^ (remainder & 1 == 1 ? 0xEDB8_8320 : 0) }
    }
    return ~remainder
  }
}
