import FoundationEssentials

extension String: PostgresCodable {
  public var postgresValue: PostgresValue { .text(self) }

  public init(postgres cell: PostgresCell) throws(PostgresDecodingFailure) { self = try cell.text() }
}

extension Bool: PostgresCodable {
  public var postgresValue: PostgresValue { .text(self ? "t" : "f") }

  public init(postgres cell: PostgresCell) throws(PostgresDecodingFailure) {
    self = try cell.withBytes { (bytes) throws(PostgresDecodingFailure) -> Bool in
      switch bytes.count == 1 ? bytes[0] : 0 {
      case UInt8(ascii: "t"): return true
      case UInt8(ascii: "f"): return false
      default: throw PostgresDecodingFailure("it is not a boolean")
      }
    }
  }
}

/// Integers are read digit by digit from the cell: no string is made.
extension PostgresDecodable where Self: FixedWidthInteger {
  public init(postgres cell: PostgresCell) throws(PostgresDecodingFailure) {
    self = try cell.withBytes { (bytes) throws(PostgresDecodingFailure) -> Self in
      guard let value = Self(ascii: bytes) else {
        throw PostgresDecodingFailure("it is not an integer of \(Self.bitWidth) bits")
      }
      return value
    }
  }
}

extension FixedWidthInteger {
  /// The number that `digits` (with an optional minus sign) spell, or nil.
  init?(ascii digits: some Collection<UInt8>) {
    let negative = digits.first == UInt8(ascii: "-")
    let digits = digits.dropFirst(negative ? 1 : 0)
    if digits.isEmpty { return nil }
    var value: Self = 0
    for byte in digits {
      guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
      let (product, overflow) = value.multipliedReportingOverflow(by: 10)
      let digit = Self(byte &- UInt8(ascii: "0"))
      let (sum, carry) = negative ? product.subtractingReportingOverflow(digit) : product.addingReportingOverflow(digit)
      if overflow || carry { return nil }
      value = sum
    }
    self = value
  }
}

extension PostgresEncodable where Self: FixedWidthInteger {
  public var postgresValue: PostgresValue { .text(String(self)) }
}

extension Int: PostgresCodable {}
extension Int16: PostgresCodable {}
extension Int32: PostgresCodable {}
extension Int64: PostgresCodable {}
extension UInt16: PostgresCodable {}
extension UInt32: PostgresCodable {}
extension UInt64: PostgresCodable {}

extension Double: PostgresCodable {
  public var postgresValue: PostgresValue { .text(String(self)) }

  public init(postgres cell: PostgresCell) throws(PostgresDecodingFailure) {
    guard let value = Double(try cell.text()) else { throw PostgresDecodingFailure("it is not a number") }
    self = value
  }
}

extension UUID: PostgresCodable {
  public var postgresValue: PostgresValue { .text(uuidString) }

  public init(postgres cell: PostgresCell) throws(PostgresDecodingFailure) {
    let value = try cell.withBytes { UUID(text: $0) }
    guard let value else { throw PostgresDecodingFailure("it is not a UUID") }
    self = value
  }

  /// Reads the form that PostgreSQL writes: 32 digits in groups of 8, 4, 4, 4 and 12. Foundation's way by `sscanf` takes
  /// longer than the rest of a row.
  private init?(text: UnsafeBufferPointer<UInt8>) {
    guard text.count == 36 else { return nil }
    var bytes: uuid_t = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    let isRight = withUnsafeMutableBytes(of: &bytes) { bytes in
      var position = 0
      for index in 0..<16 {
        if index == 4 || index == 6 || index == 8 || index == 10 {
          guard text[position] == UInt8(ascii: "-") else { return false }
          position += 1
        }
        guard let high = hexDigit(text[position]), let low = hexDigit(text[position + 1]) else { return false }
        bytes[index] = high << 4 | low
        position += 2
      }
      return true
    }
    guard isRight else { return nil }
    self.init(uuid: bytes)
  }
}

extension Data: PostgresCodable {
  public var postgresValue: PostgresValue { .bytes([UInt8](self)) }

  public init(postgres cell: PostgresCell) throws(PostgresDecodingFailure) { self = Data(try [UInt8](bytea: cell)) }
}

extension [UInt8] {
  /// Reads a `bytea` in its hex form, `\x0102…`.
  init(bytea cell: PostgresCell) throws(PostgresDecodingFailure) {
    self = try cell.withBytes { (text) throws(PostgresDecodingFailure) -> [UInt8] in
      let failure = PostgresDecodingFailure("it is not a bytea in hex form")
      guard text.count >= 2, text.count % 2 == 0, text[0] == UInt8(ascii: "\\"), text[1] == UInt8(ascii: "x") else {
        throw failure
      }
      var bytes = [UInt8]()
      bytes.reserveCapacity(text.count / 2 - 1)
      for index in stride(from: 2, to: text.count, by: 2) {
        guard let high = hexDigit(text[index]), let low = hexDigit(text[index + 1]) else { throw failure }
        bytes.append(high << 4 | low)
      }
      return bytes
    }
  }
}

private func hexDigit(_ byte: UInt8) -> UInt8? {
  switch byte {
  case UInt8(ascii: "0")...UInt8(ascii: "9"): byte &- UInt8(ascii: "0")
  case UInt8(ascii: "a")...UInt8(ascii: "f"): byte &- UInt8(ascii: "a") &+ 10
  default: nil
  }
}

/// The text of a `json` or `jsonb` value, passed through unparsed in both directions.
public struct JSONText: Sendable, Hashable, PostgresCodable {
  public var text: String

  public init(_ text: String) { self.text = text }

  public init(postgres cell: PostgresCell) throws(PostgresDecodingFailure) { text = try cell.text() }

  public var postgresValue: PostgresValue { .text(text) }
}
