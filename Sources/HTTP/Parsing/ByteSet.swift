/// A set of ASCII bytes, as two 64-bit masks: membership costs a shift and no memory access.
package struct ByteSet: Sendable {
  private var low: UInt64 = 0
  private var high: UInt64 = 0

  /// The letters, the digits and the bytes of `extra`.
  package init(alphanumericsAnd extra: StaticString) {
    for byte in UInt8(ascii: "0")...UInt8(ascii: "9") { insert(byte) }
    for byte in UInt8(ascii: "A")...UInt8(ascii: "Z") { insert(byte) }
    for byte in UInt8(ascii: "a")...UInt8(ascii: "z") { insert(byte) }
    extra.withUTF8Buffer { for byte in $0 { insert(byte) } }
  }

  private mutating func insert(_ byte: UInt8) {
    if byte < 64 { low |= 1 << UInt64(byte) } else if byte < 128 { high |= 1 << UInt64(byte & 63) }
  }

  @inline(__always)
  package func contains(_ byte: UInt8) -> Bool {
    let bit: UInt64 = 1 << UInt64(byte & 63)
    return byte < 64 ? low & bit != 0 : byte < 128 && high & bit != 0
  }

  /// `tchar` of RFC 9110, 5.6.2: what methods and field names are made of.
  package static let token = ByteSet(alphanumericsAnd: "!#$%&'*+-.^_`|~")
  /// What a request target may hold: `unreserved`, `reserved` without `#`, and `%` (RFC 3986, 2).
  package static let target = ByteSet(alphanumericsAnd: "-._~:/?[]@!$&'()*+,;=%")
  /// `uri-host [":" port]` (RFC 9110, 7.2). The comma is left out: it would let two hosts travel as one.
  package static let host = ByteSet(alphanumericsAnd: "-._~%!$&'()*+;=:[]")
}

extension UInt8 {
  static let tab = UInt8(ascii: "\t")
  static let lineFeed = UInt8(ascii: "\n")
  static let carriageReturn = UInt8(ascii: "\r")
  static let space = UInt8(ascii: " ")
  static let colon = UInt8(ascii: ":")

  /// `field-vchar`, space or tab: what a field value may hold (RFC 9110, 5.5).
  @inline(__always)
  var isFieldValue: Bool { self >= 0x20 ? self != 0x7F : self == .tab }

  var isDigit: Bool { self >= UInt8(ascii: "0") && self <= UInt8(ascii: "9") }

  var lowercased: UInt8 { self >= UInt8(ascii: "A") && self <= UInt8(ascii: "Z") ? self | 0x20 : self }

  var hexValue: UInt64? {
    switch self {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt64(self - UInt8(ascii: "0"))
    case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt64(self - UInt8(ascii: "a") + 10)
    case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt64(self - UInt8(ascii: "A") + 10)
    default: nil
    }
  }
}
