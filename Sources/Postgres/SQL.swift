/// A statement with its values apart from its text.
///
/// `"SELECT name FROM vms WHERE id = \(id)"` becomes the text `… WHERE id = $1` and one bound value. A value never becomes
/// part of the text, so there is nothing to inject. Parameter types are inferred by the server; where it cannot (for
/// example in `jsonb_build_object`), write the cast: `\(name)::text`.
public struct SQL: Sendable, ExpressibleByStringInterpolation {
  /// The text with `$1`, `$2` … for the values.
  public private(set) var text: String
  /// The values of `$1`, `$2` … in order.
  public private(set) var values: [PostgresValue]
  /// UTF-8 offsets in `text` at which the placeholders start: what is needed to number them anew inside another SQL.
  private var placeholders: [Int]
  /// A text value with a NUL character: PostgreSQL cannot hold one, and libpq would silently cut the value there.
  private(set) var holdsNul: Bool

  public init(stringLiteral value: StaticString) {
    self.init(text: value.description)
  }

  public init(stringInterpolation: Interpolation) {
    self = stringInterpolation.sql
  }

  /// Text that the module itself wrote.
  init(text: String) {
    self.text = text
    values = []
    placeholders = []
    holdsNul = false
  }

  /// Joins `parts` with a fixed separator; an empty list gives empty SQL.
  public static func joined(_ parts: [SQL], separator: StaticString = ", ") -> SQL {
    var whole = SQL(text: "")
    for (index, part) in parts.enumerated() {
      if index > 0 { whole.text += separator.description }
      whole.append(part)
    }
    return whole
  }

  /// Appends another piece, its placeholders numbered on from here.
  public mutating func append(_ other: SQL) {
    holdsNul = holdsNul || other.holdsNul
    if values.isEmpty {
      placeholders += other.placeholders.map { $0 + text.utf8.count }
      text += other.text
      values = other.values
      return
    }
    let source = other.text.utf8
    var position = source.startIndex
    for (index, offset) in other.placeholders.enumerated() {
      let start = source.index(source.startIndex, offsetBy: offset)
      text += other.text[position..<start]
      append(value: other.values[index])
      position = source.index(start, offsetBy: 1 + String(index + 1).utf8.count)
    }
    text += other.text[position...]
  }

  mutating func append(value: PostgresValue) {
    if case .text(let string) = value, string.utf8.contains(0) { holdsNul = true }
    values.append(value)
    placeholders.append(text.utf8.count)
    text += "$"
    text += String(values.count)
  }

  fileprivate mutating func reserve(text bytes: Int, values count: Int) {
    text.reserveCapacity(bytes)
    values.reserveCapacity(count)
    placeholders.reserveCapacity(count)
  }

  mutating func append(literal: String) { text += literal }
}

extension SQL {
  /// Collects the pieces of an interpolated literal.
  public struct Interpolation: StringInterpolationProtocol {
    var sql = SQL(text: "")

    public init(literalCapacity: Int, interpolationCount: Int) {
      sql.reserve(text: literalCapacity + 3 * interpolationCount, values: interpolationCount)
    }

    public mutating func appendLiteral(_ literal: StaticString) {
      sql.append(literal: literal.description)
    }

    /// Binds a value.
    public mutating func appendInterpolation<Value: PostgresEncodable>(_ value: Value) {
      sql.append(value: value.postgresValue)
    }

    /// Binds a value, or NULL for nil. (An overload of its own: the compiler warns about optionals that reach a parameter
    /// that is not one.)
    public mutating func appendInterpolation<Value: PostgresEncodable>(_ value: Value?) {
      sql.append(value: value.postgresValue)
    }

    /// Puts another piece of SQL, with its own values, here.
    public mutating func appendInterpolation(fragment: SQL) {
      sql.append(fragment)
    }

    /// Puts text here that was written in the program's source: it cannot come from outside.
    public mutating func appendInterpolation(raw text: StaticString) {
      sql.append(literal: text.description)
    }

    /// Puts a quoted identifier here, for the rare name that is only known at run time.
    public mutating func appendInterpolation(identifier: String) {
      sql.append(literal: SQL.quote(identifier: identifier))
    }
  }

  /// `name` as a quoted identifier: whatever it holds, it stays one identifier.
  ///
  /// Works on code points, as the server does: to Swift a quote with a combining mark behind it is another character.
  static func quote(identifier name: String) -> String {
    var quoted = "\""
    for scalar in name.unicodeScalars where scalar != "\0" {
      quoted.unicodeScalars.append(scalar)
      if scalar == "\"" { quoted.unicodeScalars.append(scalar) }
    }
    quoted.unicodeScalars.append("\"")
    return quoted
  }
}
