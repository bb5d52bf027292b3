import FoundationEssentials

/// Where all containers of one encoding write. Codable types encode depth first, so the text can be streamed: writing
/// to a container first closes what is still open below it. Writing to one that was closed so is an error.
final class EncodingSink {
  var writer: JSONWriter
  /// Closing brackets of the open containers, outermost first.
  private var open: [UInt8] = []

  init(_ writer: JSONWriter) { self.writer = writer }

  /// Encodes one value whose own container would be at `depth`.
  func encode<Value: Encodable>(_ value: Value, depth: Int, path: [any CodingKey]) throws {
    switch value {
    case let value as any JSONWritable: value.write(to: &writer)
    case let value as URL: value.absoluteString.write(to: &writer)
    case let value as Data: value.base64EncodedString().write(to: &writer)
    case let value as any StringKeyed: try value.encodeSorted(to: self, depth: depth, path: path)
    default:
      let start = writer.bytes.count
      try value.encode(to: StreamEncoder(sink: self, depth: depth, codingPath: path))
      close(to: depth)
      if writer.bytes.count == start { writer.object { _ in } }
    }
  }

  /// Opens a container at `depth`, or goes on with the one that the same encoder opened there before.
  func openContainer(at depth: Int, closing bracket: UInt8) {
    close(to: depth + 1)
    if open.count > depth { return }
    if bracket == UInt8(ascii: "}") { writer.beginObject() } else { writer.beginArray() }
    open.append(bracket)
  }

  /// Makes the container at `depth` the innermost one, ready for its next member.
  func resume(_ depth: Int, _ path: [any CodingKey]) throws {
    guard open.count > depth else {
      throw EncodingError.invalidValue(
        (), .init(codingPath: path, debugDescription: "written to a container after its sibling was begun"))
    }
    close(to: depth + 1)
  }

  func close(to depth: Int) {
    while open.count > depth, let bracket = open.popLast() {
      if bracket == UInt8(ascii: "}") { writer.endObject() } else { writer.endArray() }
    }
  }
}

/// Dictionaries with string keys: the keys are data, so they are not converted, and come sorted.
protocol StringKeyed {
  func encodeSorted(to sink: EncodingSink, depth: Int, path: [any CodingKey]) throws
}

extension Dictionary: StringKeyed where Key == String, Value: Encodable {
  func encodeSorted(to sink: EncodingSink, depth: Int, path: [any CodingKey]) throws {
    sink.openContainer(at: depth, closing: UInt8(ascii: "}"))
    for (name, value) in sorted(by: { $0.key < $1.key }) {
      try sink.resume(depth, path)
      sink.writer.key(name)
      try sink.encode(value, depth: depth + 1, path: path + [PathKey(stringValue: name)])
    }
    sink.close(to: depth)
  }
}

struct StreamEncoder: Encoder {
  let sink: EncodingSink
  let depth: Int
  let codingPath: [any CodingKey]
  var userInfo: [CodingUserInfoKey: Any] { [:] }

  func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
    sink.openContainer(at: depth, closing: UInt8(ascii: "}"))
    return KeyedEncodingContainer(
      StreamKeyedContainer(sink: sink, depth: depth, codingPath: codingPath))
  }

  func unkeyedContainer() -> any UnkeyedEncodingContainer {
    sink.openContainer(at: depth, closing: UInt8(ascii: "]"))
    return StreamUnkeyedContainer(sink: sink, depth: depth, codingPath: codingPath)
  }

  func singleValueContainer() -> any SingleValueEncodingContainer {
    StreamSingleContainer(sink: sink, depth: depth, codingPath: codingPath)
  }
}

struct StreamKeyedContainer<Key: CodingKey>: KeyedEncodingContainerProtocol {
  let sink: EncodingSink
  let depth: Int
  let codingPath: [any CodingKey]

  private func begin(_ key: some CodingKey) throws {
    try sink.resume(depth, codingPath)
    sink.writer.key(KeyNaming.snakeCase(key.stringValue))
  }

  func encodeNil(forKey key: Key) throws {
    try begin(key)
    sink.writer.writeNull()
  }

  func encode<T: Encodable>(_ value: T, forKey key: Key) throws {
    try begin(key)
    try sink.encode(value, depth: depth + 1, path: codingPath + [key])
  }

  func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type, forKey key: Key) -> KeyedEncodingContainer<Nested>
  {
    encoder(key).container(keyedBy: type)
  }

  func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer { encoder(key).unkeyedContainer() }

  func superEncoder() -> any Encoder { encoder(PathKey(stringValue: "super")) }
  func superEncoder(forKey key: Key) -> any Encoder { encoder(key) }

  private func encoder(_ key: some CodingKey) -> StreamEncoder {
    // These calls cannot throw; a key written to a container that is closed shows as an error at the next encode.
    try? begin(key)
    return StreamEncoder(sink: sink, depth: depth + 1, codingPath: codingPath + [key])
  }
}

struct StreamUnkeyedContainer: UnkeyedEncodingContainer {
  let sink: EncodingSink
  let depth: Int
  let codingPath: [any CodingKey]
  private(set) var count = 0

  init(sink: EncodingSink, depth: Int, codingPath: [any CodingKey]) {
    self.sink = sink
    self.depth = depth
    self.codingPath = codingPath
  }

  mutating func encodeNil() throws {
    try sink.resume(depth, codingPath)
    sink.writer.writeNull()
    count += 1
  }

  mutating func encode<T: Encodable>(_ value: T) throws {
    try sink.resume(depth, codingPath)
    try sink.encode(value, depth: depth + 1, path: codingPath + [PathKey(intValue: count)])
    count += 1
  }

  mutating func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type) -> KeyedEncodingContainer<Nested> {
    encoder().container(keyedBy: type)
  }

  mutating func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer { encoder().unkeyedContainer() }
  mutating func superEncoder() -> any Encoder { encoder() }

  private mutating func encoder() -> StreamEncoder {
    try? sink.resume(depth, codingPath)
    defer { count += 1 }
    return StreamEncoder(
      sink: sink, depth: depth + 1, codingPath: codingPath + [PathKey(intValue: count)])
  }
}

struct StreamSingleContainer: SingleValueEncodingContainer {
  let sink: EncodingSink
  let depth: Int
  let codingPath: [any CodingKey]

  func encodeNil() throws { sink.writer.writeNull() }
  func encode<T: Encodable>(_ value: T) throws { try sink.encode(value, depth: depth, path: codingPath) }
}
