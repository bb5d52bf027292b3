import JSON

/// Index of a compiled schema in its `SchemaTable`. Schemas refer to each other by it, so they may be recursive.
typealias SchemaID = Int

/// All compiled schemas of a contract.
struct SchemaTable: Sendable {
  var schemas: [Schema] = []

  subscript(_ id: SchemaID) -> Schema { schemas[id] }
}

/// One JSON Schema (draft 2020-12, the part that `SchemaCompiler` knows), compiled: nothing is looked up in the document
/// at the time of a request.
final class Schema: Sendable {
  let types: JSONTypes?
  let ref: SchemaID?
  /// `enum`, or `const` as its only value.
  let values: [JSONValue]?
  let string: StringRules?
  let number: NumberRules?
  let array: ArrayRules?
  let object: ObjectRules?
  let allOf: [SchemaID]
  let anyOf: [SchemaID]
  let oneOf: [SchemaID]
  let not: SchemaID?
  let readOnly: Bool
  let writeOnly: Bool
  /// The schema `false`: nothing fits.
  let refusesAll: Bool

  init(
    types: JSONTypes? = nil, ref: SchemaID? = nil, values: [JSONValue]? = nil, string: StringRules? = nil,
    number: NumberRules? = nil, array: ArrayRules? = nil, object: ObjectRules? = nil, allOf: [SchemaID] = [],
    anyOf: [SchemaID] = [], oneOf: [SchemaID] = [], not: SchemaID? = nil, readOnly: Bool = false,
    writeOnly: Bool = false, refusesAll: Bool = false
  ) {
    self.types = types
    self.ref = ref
    self.values = values
    self.string = string
    self.number = number
    self.array = array
    self.object = object
    self.allOf = allOf
    self.anyOf = anyOf
    self.oneOf = oneOf
    self.not = not
    self.readOnly = readOnly
    self.writeOnly = writeOnly
    self.refusesAll = refusesAll
  }

  /// Schemas that apply to the same value as this one.
  var inPlace: [SchemaID] { [ref, not].compactMap { $0 } + allOf + anyOf + oneOf }
}

/// The types of JSON Schema; a whole number is an `integer` and a `number`.
struct JSONTypes: OptionSet, Sendable {
  let rawValue: UInt8

  static let null = JSONTypes(rawValue: 1)
  static let boolean = JSONTypes(rawValue: 2)
  static let integer = JSONTypes(rawValue: 4)
  static let number = JSONTypes(rawValue: 8)
  static let string = JSONTypes(rawValue: 16)
  static let array = JSONTypes(rawValue: 32)
  static let object = JSONTypes(rawValue: 64)

  static let named: [(name: String, type: JSONTypes)] = [
    ("null", .null), ("boolean", .boolean), ("integer", .integer), ("number", .number), ("string", .string),
    ("array", .array), ("object", .object),
  ]

  init(rawValue: UInt8) { self.rawValue = rawValue }

  init?(named name: String) {
    guard let type = Self.named.first(where: { $0.name == name })?.type else { return nil }
    self = type
  }

  /// The types that a value has.
  init(of value: JSONValue) {
    switch value {
    case .null: self = .null
    case .bool: self = .boolean
    case .integer: self = [.integer, .number]
    case .number(let number): self = number.rounded() == number ? [.integer, .number] : .number
    case .string: self = .string
    case .array: self = .array
    case .object: self = .object
    }
  }

  /// `a string`, `an integer or null`.
  var phrase: String {
    let names = Self.named.filter { contains($0.type) && $0.type != .null }.map { name, _ in
      ("aeiou".contains(name.prefix(1)) ? "an " : "a ") + name
    }
    return (names + (contains(.null) ? ["null"] : [])).joined(separator: " or ")
  }
}

struct StringRules: Sendable {
  var minimumLength: Int?
  var maximumLength: Int?
  var pattern: Pattern?
  var format: StringFormat?
}

struct NumberRules: Sendable {
  var minimum: JSONValue?
  var maximum: JSONValue?
  var exclusiveMinimum: JSONValue?
  var exclusiveMaximum: JSONValue?
  var multipleOf: JSONValue?
}

struct ArrayRules: Sendable {
  var items: SchemaID?
  var prefixItems: [SchemaID] = []
  var minimumCount: Int?
  var maximumCount: Int?
  var unique = false
}

struct ObjectRules: Sendable {
  enum Additional: Sendable {
    case allowed
    case refused
    case schema(SchemaID)
  }

  var properties: [String: SchemaID] = [:]
  /// In the order of the document, for messages.
  var names: [String] = []
  var required: [String] = []
  var additional = Additional.allowed
  /// Properties of neighbouring schemas, which `unevaluatedProperties` lets pass.
  var evaluatedElsewhere: Set<String> = []
  var patterns: [(pattern: Pattern, schema: SchemaID)] = []
  var propertyNames: SchemaID?
  var minimumCount: Int?
  var maximumCount: Int?
}
