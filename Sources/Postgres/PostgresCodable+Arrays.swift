import FoundationEssentials

/// What can be an element of a bound or read array.
public protocol PostgresArrayElement: PostgresCodable {
  static func encode(array: [Self]) -> PostgresValue
  static func decode(array cell: PostgresCell) throws(PostgresDecodingFailure) -> [Self]
}

extension Array: PostgresEncodable where Element: PostgresArrayElement {
  public var postgresValue: PostgresValue { Element.encode(array: self) }
}

extension Array: PostgresDecodable where Element: PostgresArrayElement {
  public init(postgres cell: PostgresCell) throws(PostgresDecodingFailure) { self = try Element.decode(array: cell) }
}

extension String: PostgresArrayElement {}
extension Bool: PostgresArrayElement {}
extension Int: PostgresArrayElement {}
extension Int32: PostgresArrayElement {}
extension Int64: PostgresArrayElement {}
extension Double: PostgresArrayElement {}
extension UUID: PostgresArrayElement {}
extension Date: PostgresArrayElement {}
extension JSONText: PostgresArrayElement {}
extension Optional: PostgresArrayElement where Wrapped: PostgresArrayElement {}

/// An array of bytes is one `bytea`, not an array of numbers.
extension UInt8: PostgresArrayElement {
  public static func encode(array: [UInt8]) -> PostgresValue { .bytes(array) }

  public static func decode(array cell: PostgresCell) throws(PostgresDecodingFailure) -> [UInt8] {
    try [UInt8](bytea: cell)
  }
}

extension UInt8: PostgresCodable {}

extension PostgresArrayElement {
  /// The array literal `{"a","b",NULL}`: every element quoted, so that none can be mistaken for syntax.
  public static func encode(array: [Self]) -> PostgresValue {
    var text = "{"
    for (index, element) in array.enumerated() {
      if index > 0 { text += "," }
      switch element.postgresValue {
      case .null: text += "NULL"
      case .text(let string):
        text += "\""
        for scalar in string.unicodeScalars {
          if scalar == "\"" || scalar == "\\" { text += "\\" }
          text.unicodeScalars.append(scalar)
        }
        text += "\""
      case .bytes(let bytes):
        let digits = Array("0123456789abcdef")
        text += "\"\\\\x"
        for byte in bytes {
          text.append(digits[Int(byte >> 4)])
          text.append(digits[Int(byte & 15)])
        }
        text += "\""
      }
    }
    return .text(text + "}")
  }

  public static func decode(array cell: PostgresCell) throws(PostgresDecodingFailure) -> [Self] {
    let elements = try cell.withBytes { (bytes) throws(PostgresDecodingFailure) in try ArrayLiteral.parse(bytes) }
    var values: [Self] = []
    values.reserveCapacity(elements.count)
    for element in elements {
      guard let element else {
        values.append(try Self(postgres: PostgresCell(owner: ElementBytes.none, bytes: nil)))
        continue
      }
      let owner = ElementBytes(element)
      values.append(try Self(postgres: PostgresCell(owner: owner, bytes: owner.bytes)))
    }
    return values
  }
}

/// The unescaped bytes of one element.
///
/// `@unchecked Sendable`: written in `init` only.
private final class ElementBytes: @unchecked Sendable {
  private let memory: UnsafeMutableBufferPointer<UInt8>
  private let count: Int

  init(_ element: [UInt8]) {
    count = element.count
    // One byte more, so that an empty element has an address too and does not look like NULL.
    memory = .allocate(capacity: count + 1)
    _ = memory.initialize(fromContentsOf: element + [0])
  }

  deinit { memory.deallocate() }

  var bytes: UnsafeBufferPointer<UInt8> { UnsafeBufferPointer(rebasing: memory[0..<count]) }

  static let none = ElementBytes([])
}

/// PostgreSQL's array literals of one dimension.
enum ArrayLiteral {
  /// The elements, unescaped; nil for NULL.
  static func parse(_ text: UnsafeBufferPointer<UInt8>) throws(PostgresDecodingFailure) -> [[UInt8]?] {
    let failure = PostgresDecodingFailure("it is not an array of one dimension")
    guard text.count >= 2, text.first == UInt8(ascii: "{"), text.last == UInt8(ascii: "}") else { throw failure }
    let body = text[1..<(text.count - 1)]
    if body.isEmpty { return [] }
    var elements: [[UInt8]?] = []
    var index = body.startIndex
    while true {
      var element: [UInt8] = []
      let quoted = index < body.endIndex && body[index] == UInt8(ascii: "\"")
      if quoted { index += 1 }
      while true {
        guard index < body.endIndex else {
          if quoted { throw failure }
          break
        }
        var byte = body[index]
        if byte == (quoted ? UInt8(ascii: "\"") : UInt8(ascii: ",")) { break }
        if !quoted && byte == UInt8(ascii: "{") { throw failure }
        if byte == UInt8(ascii: "\\") {
          index += 1
          guard index < body.endIndex else { throw failure }
          byte = body[index]
        }
        element.append(byte)
        index += 1
      }
      if quoted { index += 1 }
      elements.append(!quoted && element == Array("NULL".utf8) ? nil : element)
      if index >= body.endIndex { return elements }
      guard body[index] == UInt8(ascii: ",") else { throw failure }
      index += 1
    }
  }
}
