import Foundation

/// 128 bits as 26 characters of Crockford's base32 in lower case, most significant first: sorting the text sorts the ids.
enum Base32 {
  private static let alphabet = Array("0123456789abcdefghjkmnpqrstvwxyz".utf8)
  private static let values: [UInt8] = {
    var values = [UInt8](repeating: 255, count: 256)
    for (value, character) in alphabet.enumerated() { values[Int(character)] = UInt8(value) }
    return values
  }()

  static func encode(_ uuid: UUID) -> String {
    var (high, low) = halves(uuid)
    return String(unsafeUninitializedCapacity: 26) { text in
      for index in stride(from: 25, through: 0, by: -1) {
        text[index] = alphabet[Int(low & 31)]
        low = low >> 5 | (high & 31) << 59
        high >>= 5
      }
      return 26
    }
  }

  /// Nil unless `text` is 26 characters of the alphabet whose value fits 128 bits.
  static func decode(_ text: Substring.UTF8View) -> UUID? {
    guard text.count == 26, let first = text.first, values[Int(first)] < 8 else { return nil }
    var high: UInt64 = 0
    var low: UInt64 = 0
    for character in text {
      let value = values[Int(character)]
      guard value < 32 else { return nil }
      high = high << 5 | low >> 59
      low = low << 5 | UInt64(value)
    }
    return UUID(high: high, low: low)
  }

  private static func halves(_ uuid: UUID) -> (high: UInt64, low: UInt64) {
    withUnsafeBytes(of: uuid.uuid) { bytes in
      (
        UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self)),
        UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
      )
    }
  }
}

extension UUID {
  /// A UUID from its two halves, most significant first.
  init(high: UInt64, low: UInt64) {
    var bytes: uuid_t = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    withUnsafeMutableBytes(of: &bytes) { buffer in
      buffer.storeBytes(of: high.bigEndian, toByteOffset: 0, as: UInt64.self)
      buffer.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
    }
    self.init(uuid: bytes)
  }

  /// A version 7 UUID (RFC 9562): 48 bits of Unix milliseconds, then random bits.
  public static func v7(milliseconds: UInt64, random: (UInt64, UInt64)) -> UUID {
    UUID(
      high: milliseconds << 16 | 0x7000 | random.0 & 0x0fff,
      low: 0x8000_0000_0000_0000 | random.1 & 0x3fff_ffff_ffff_ffff)
  }
}
