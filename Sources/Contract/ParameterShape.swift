import JSON

/// How the text of a parameter becomes a JSON value: its schema, boiled down to types.
indirect enum ParameterShape: Sendable {
  case scalar(JSONTypes)
  case array(of: JSONTypes)

  /// The shape that a schema asks for; nil when it cannot be written as text (an object).
  init?(_ id: SchemaID, _ table: SchemaTable) {
    let types = Self.types(id, table, 0)
    if types.contains(.array) {
      guard types.isDisjoint(with: .object) else { return nil }
      self = .array(of: Self.items(id, table, 0).map { Self.types($0, table, 0) } ?? .string)
    } else if types.contains(.object) {
      return nil
    } else {
      self = .scalar(types.isEmpty ? .string : types)
    }
  }

  private static func types(_ id: SchemaID, _ table: SchemaTable, _ depth: Int) -> JSONTypes {
    guard depth < 16 else { return [] }
    let schema = table[id]
    if let types = schema.types { return types }
    if let values = schema.values { return values.reduce(into: []) { $0.formUnion(JSONTypes(of: $1)) } }
    let inherited = [schema.ref].compactMap { $0 } + schema.allOf + schema.anyOf + schema.oneOf
    return inherited.reduce(into: []) { $0.formUnion(types($1, table, depth + 1)) }
  }

  private static func items(_ id: SchemaID, _ table: SchemaTable, _ depth: Int) -> SchemaID? {
    guard depth < 16 else { return nil }
    let schema = table[id]
    if let items = schema.array?.items { return items }
    return ([schema.ref].compactMap { $0 } + schema.allOf).lazy.compactMap { items($0, table, depth + 1) }.first
  }

  /// Text as the narrowest of the types that it can be; nil when it is none of them.
  static func scalar(_ text: String, _ types: JSONTypes) -> JSONValue? {
    if types.contains(.boolean), text == "true" || text == "false" { return .bool(text == "true") }
    if !types.isDisjoint(with: [.integer, .number]), let first = text.utf8.first,
      first == UInt8(ascii: "-") || (0x30...0x39).contains(first), let number = try? JSONValue.parse(text),
      !types.isDisjoint(with: JSONTypes(of: number))
    {
      return number
    }
    return types.contains(.string) ? .string(text) : nil
  }
}
