/// Writes JSON straight to bytes: no tree, no intermediate strings.
///
/// Commas are set by the writer. The caller keeps begin and end paired and writes one value after each key; the closure
/// forms (`object`, `array`) do so by themselves.
public struct JSONWriter: Sendable {
  /// What has been written so far, UTF-8.
  public var bytes: [UInt8]

  /// Whether the next value or key in this container needs a comma before it. One flag is enough: an opening bracket
  /// and a key clear it, every finished value sets it.
  @usableFromInline var needsComma = false

  @inlinable
  public init(capacity: Int = 512) {
    bytes = []
    bytes.reserveCapacity(capacity)
  }

  // MARK: structure

  /// Writes `{`; members follow, then `endObject`.
  @inlinable public mutating func beginObject() { open(UInt8(ascii: "{")) }
  /// Writes `}`.
  @inlinable public mutating func endObject() { close(UInt8(ascii: "}")) }
  /// Writes `[`; values follow, then `endArray`.
  @inlinable public mutating func beginArray() { open(UInt8(ascii: "[")) }
  /// Writes `]`.
  @inlinable public mutating func endArray() { close(UInt8(ascii: "]")) }

  /// Writes `{`, what the closure writes, `}`.
  @inlinable
  public mutating func object<E: Error>(_ content: (inout JSONWriter) throws(E) -> Void) throws(E) {
    beginObject()
    try content(&self)
    endObject()
  }

  /// Writes `[`, what the closure writes, `]`.
  @inlinable
  public mutating func array<E: Error>(_ content: (inout JSONWriter) throws(E) -> Void) throws(E) {
    beginArray()
    try content(&self)
    endArray()
  }

  /// Writes a member's name; its value comes next.
  @inlinable
  public mutating func key(_ name: String) {
    separate()
    appendQuoted(name)
    bytes.append(UInt8(ascii: ":"))
    needsComma = false
  }

  // MARK: values

  /// Writes a value.
  @inlinable public mutating func write<Value: JSONWritable>(_ value: Value) { value.write(to: &self) }

  /// Writes `null`.
  @inlinable public mutating func writeNull() { raw("null") }

  /// Writes one member.
  @inlinable
  public mutating func field<Value: JSONWritable>(_ name: String, _ value: Value) {
    key(name)
    value.write(to: &self)
  }

  /// Writes one member, or nothing when the value is nil. (`field` writes `null` then.)
  @inlinable
  public mutating func fieldIfPresent<Value: JSONWritable>(_ name: String, _ value: Value?) {
    if let value { field(name, value) }
  }

  /// Writes one member that is an object.
  @inlinable
  public mutating func objectField<E: Error>(
    _ name: String, _ content: (inout JSONWriter) throws(E) -> Void
  ) throws(E) {
    key(name)
    try object(content)
  }

  /// Writes one member that is an array.
  @inlinable
  public mutating func arrayField<E: Error>(
    _ name: String, _ content: (inout JSONWriter) throws(E) -> Void
  ) throws(E) {
    key(name)
    try array(content)
  }

  /// Writes text that is JSON already (say, a jsonb column) as the next value. It is not checked.
  @inlinable
  public mutating func raw(_ json: some Sequence<UInt8>) {
    separate()
    bytes.append(contentsOf: json)
    needsComma = true
  }

  /// Writes text that is JSON already as the next value. It is not checked.
  @inlinable public mutating func raw(_ json: String) { raw(json.utf8) }

  // MARK: parts

  @inlinable
  mutating func open(_ bracket: UInt8) {
    separate()
    bytes.append(bracket)
    needsComma = false
  }

  @inlinable
  mutating func close(_ bracket: UInt8) {
    bytes.append(bracket)
    needsComma = true
  }

  @inlinable
  mutating func separate() {
    if needsComma { bytes.append(UInt8(ascii: ",")) }
  }
}

/// A type that can write itself as one JSON value.
public protocol JSONWritable {
  /// Writes exactly one JSON value.
  func write(to writer: inout JSONWriter)
}

extension JSONWritable {
  /// The value as compact JSON text, UTF-8.
  public var jsonBytes: [UInt8] {
    var writer = JSONWriter()
    write(to: &writer)
    return writer.bytes
  }
}
