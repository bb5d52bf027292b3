import FoundationEssentials

struct ValueDecoder: Decoder {
  let value: JSONValue
  let codingPath: [any CodingKey]
  var keysAreData = false
  var userInfo: [CodingUserInfoKey: Any] { [:] }

  func decode<T: Decodable>(_ type: T.Type) throws -> T {
    if type == JSONValue.self, let result = value as? T { return result }
    if type == Date.self, let result = try date() as? T { return result }
    if type == UUID.self, let result = try uuid() as? T { return result }
    if type == URL.self, let result = try url() as? T { return result }
    if type == Data.self, let result = try data() as? T { return result }
    if type is any KeysAreData.Type {
      return try T(from: ValueDecoder(value: value, codingPath: codingPath, keysAreData: true))
    }
    return try T(from: self)
  }

  func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
    guard case .object(let object) = value else { throw mismatch([String: JSONValue].self, "an object") }
    return KeyedDecodingContainer(
      ValueKeyedContainer(object: object, codingPath: codingPath, keysAreData: keysAreData))
  }

  func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
    guard case .array(let elements) = value else { throw mismatch([JSONValue].self, "an array") }
    return ValueUnkeyedContainer(elements: elements, codingPath: codingPath)
  }

  func singleValueContainer() throws -> any SingleValueDecodingContainer { self }

  private func text(_ type: Any.Type, _ expected: String) throws -> String {
    guard case .string(let text) = value else { throw mismatch(type, expected) }
    return text
  }

  private func date() throws -> Date {
    guard let date = RFC3339.date(from: try text(Date.self, "an RFC 3339 time")) else {
      throw corrupted("must be an RFC 3339 time such as 2026-02-03T04:05:06Z")
    }
    return date
  }

  private func uuid() throws -> UUID {
    guard let uuid = UUID(uuidString: try text(UUID.self, "a UUID")) else { throw corrupted("must be a UUID") }
    return uuid
  }

  private func url() throws -> URL {
    guard let url = URL(string: try text(URL.self, "a URL")) else { throw corrupted("must be a URL") }
    return url
  }

  private func data() throws -> Data {
    guard let data = Data(base64Encoded: try text(Data.self, "base64 text")) else { throw corrupted("must be base64") }
    return data
  }

  func mismatch(_ type: Any.Type, _ expected: String) -> DecodingError {
    let context = DecodingError.Context(
      codingPath: codingPath, debugDescription: "must be \(expected), not \(value.typeName)")
    return value.isNull ? .valueNotFound(type, context) : .typeMismatch(type, context)
  }

  func corrupted(_ message: String) -> DecodingError {
    .dataCorrupted(.init(codingPath: codingPath, debugDescription: message))
  }
}

extension ValueDecoder: SingleValueDecodingContainer {
  func decodeNil() -> Bool { value.isNull }

  func decode(_ type: Bool.Type) throws -> Bool {
    guard case .bool(let result) = value else { throw mismatch(type, "a boolean") }
    return result
  }

  func decode(_ type: String.Type) throws -> String { try text(type, "a string") }

  func decode(_ type: Double.Type) throws -> Double {
    guard let result = value.doubleValue else { throw mismatch(type, "a number") }
    return result
  }

  func decode(_ type: Float.Type) throws -> Float { Float(try decode(Double.self)) }

  func decode(_ type: Int.Type) throws -> Int { try integer(type) }
  func decode(_ type: Int8.Type) throws -> Int8 { try integer(type) }
  func decode(_ type: Int16.Type) throws -> Int16 { try integer(type) }
  func decode(_ type: Int32.Type) throws -> Int32 { try integer(type) }
  func decode(_ type: Int64.Type) throws -> Int64 { try integer(type) }
  func decode(_ type: UInt.Type) throws -> UInt { try integer(type) }
  func decode(_ type: UInt8.Type) throws -> UInt8 { try integer(type) }
  func decode(_ type: UInt16.Type) throws -> UInt16 { try integer(type) }
  func decode(_ type: UInt32.Type) throws -> UInt32 { try integer(type) }
  func decode(_ type: UInt64.Type) throws -> UInt64 { try integer(type) }

  private func integer<T: FixedWidthInteger>(_ type: T.Type) throws -> T {
    let result: T? =
      switch value {
      case .integer(let number): T(exactly: number)
      case .number(let number): T(exactly: number)
      default: throw mismatch(type, "an integer")
      }
    guard let result else { throw corrupted("must be a whole number from \(T.min) to \(T.max)") }
    return result
  }
}

struct ValueKeyedContainer<Key: CodingKey>: KeyedDecodingContainerProtocol {
  let object: JSONObject
  let codingPath: [any CodingKey]
  let keysAreData: Bool

  var allKeys: [Key] {
    object.compactMap { member in
      keysAreData
        ? Key(stringValue: member.key)
        : Key(stringValue: KeyNaming.camelCase(member.key)) ?? Key(stringValue: member.key)
    }
  }

  private func name(_ key: some CodingKey) -> String {
    keysAreData ? key.stringValue : KeyNaming.snakeCase(key.stringValue)
  }

  private func decoder(_ key: some CodingKey) throws -> ValueDecoder {
    let name = name(key)
    guard let value = object[name] else {
      throw DecodingError.keyNotFound(
        PathKey(stringValue: name), .init(codingPath: codingPath, debugDescription: "the member is missing"))
    }
    return ValueDecoder(value: value, codingPath: codingPath + [PathKey(stringValue: name)])
  }

  func contains(_ key: Key) -> Bool { object.contains(name(key)) }
  func decodeNil(forKey key: Key) throws -> Bool { try decoder(key).value.isNull }
  func decode<T: Decodable>(_ type: T.Type, forKey key: Key) throws -> T { try decoder(key).decode(type) }

  func nestedContainer<Nested: CodingKey>(
    keyedBy type: Nested.Type, forKey key: Key
  ) throws -> KeyedDecodingContainer<Nested> {
    try decoder(key).container(keyedBy: type)
  }

  func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer {
    try decoder(key).unkeyedContainer()
  }

  func superDecoder() throws -> any Decoder { try decoder(PathKey(stringValue: "super")) }
  func superDecoder(forKey key: Key) throws -> any Decoder { try decoder(key) }
}

struct ValueUnkeyedContainer: UnkeyedDecodingContainer {
  let elements: [JSONValue]
  let codingPath: [any CodingKey]
  private(set) var currentIndex = 0

  init(elements: [JSONValue], codingPath: [any CodingKey]) {
    self.elements = elements
    self.codingPath = codingPath
  }

  var count: Int? { elements.count }
  var isAtEnd: Bool { currentIndex >= elements.count }

  private mutating func next() throws -> ValueDecoder {
    let path = codingPath + [PathKey(intValue: currentIndex)]
    guard !isAtEnd else {
      throw DecodingError.valueNotFound(
        JSONValue.self, .init(codingPath: path, debugDescription: "the array has only \(elements.count) elements"))
    }
    defer { currentIndex += 1 }
    return ValueDecoder(value: elements[currentIndex], codingPath: path)
  }

  mutating func decodeNil() throws -> Bool {
    guard !isAtEnd, elements[currentIndex].isNull else { return false }
    currentIndex += 1
    return true
  }

  mutating func decode<T: Decodable>(_ type: T.Type) throws -> T { try next().decode(type) }

  mutating func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type) throws -> KeyedDecodingContainer<Nested> {
    try next().container(keyedBy: type)
  }

  mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer { try next().unkeyedContainer() }
  mutating func superDecoder() throws -> any Decoder { try next() }
}

extension JSONValue: Codable {
  public init(from decoder: any Decoder) throws {
    // Our own decoder hands the value over whole; this path serves other decoders.
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      self = .null
    } else if let value = try? container.decode(Bool.self) {
      self = .bool(value)
    } else if let value = try? container.decode(Int64.self) {
      self = .integer(value)
    } else if let value = try? container.decode(Double.self) {
      self = .number(value)
    } else if let value = try? container.decode(String.self) {
      self = .string(value)
    } else if let value = try? container.decode([JSONValue].self) {
      self = .array(value)
    } else {
      let members = try container.decode([String: JSONValue].self)
      self = .object(members.sorted { $0.key < $1.key }.reduce(into: JSONObject()) { $0[$1.key] = $1.value })
    }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .null: try container.encodeNil()
    case .bool(let value): try container.encode(value)
    case .integer(let value): try container.encode(value)
    case .number(let value): try container.encode(value)
    case .string(let value): try container.encode(value)
    case .array(let value): try container.encode(value)
    case .object(let value):
      try container.encode(Dictionary(value.map { ($0.key, $0.value) }, uniquingKeysWith: { first, _ in first }))
    }
  }
}
