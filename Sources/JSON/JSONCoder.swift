import FoundationEssentials

/// Codable types to JSON and back by one convention.
///
/// - Property names in camelCase stand for members in snake_case (`memoryMib` ↔ `memory_mib`); a coding key spelled in
///   snake_case stands for itself. Keys of dictionaries are data and never converted.
/// - `Date` is RFC 3339, `UUID` its lower-case text, `URL` its text, `Data` base64.
/// - A type that is also `JSONWritable` writes itself.
public enum JSONCoder {
  /// Encodes a value as compact JSON text, UTF-8.
  public static func encode(_ value: some Encodable) throws -> [UInt8] {
    var writer = JSONWriter()
    try encode(value, to: &writer)
    return writer.bytes
  }

  /// Encodes a value as the writer's next value.
  public static func encode(_ value: some Encodable, to writer: inout JSONWriter) throws {
    let sink = EncodingSink(writer)
    try sink.encode(value, depth: 0, path: [])
    writer = sink.writer
  }

  /// Encodes a value as a `JSONValue`.
  public static func value(of value: some Encodable) throws -> JSONValue {
    try JSONValue.parse(try encode(value))
  }

  /// Decodes a value from JSON text.
  public static func decode<Value: Decodable>(
    _ type: Value.Type, from bytes: [UInt8]
  ) throws(JSONDecodingError) -> Value {
    let value: JSONValue
    do throws(JSONParseError) {
      value = try JSONValue.parse(bytes)
    } catch {
      throw JSONDecodingError(pointer: JSONPointer(), message: "not JSON: \(error)")
    }
    return try decode(type, from: value)
  }

  /// Decodes a value from a JSON value.
  public static func decode<Value: Decodable>(
    _ type: Value.Type, from value: JSONValue
  ) throws(JSONDecodingError) -> Value {
    do {
      return try ValueDecoder(value: value, codingPath: []).decode(type)
    } catch let error as DecodingError {
      throw JSONDecodingError(error)
    } catch {
      throw JSONDecodingError(pointer: JSONPointer(), message: "\(error)")
    }
  }
}

/// Why a JSON value does not fit a Swift type, and where in the value.
public struct JSONDecodingError: Error, Equatable, Sendable, CustomStringConvertible {
  /// Where the offending value is, or where the missing one should be.
  public let pointer: JSONPointer
  /// What is wrong there.
  public let message: String

  public init(pointer: JSONPointer, message: String) {
    self.pointer = pointer
    self.message = message
  }

  init(_ error: DecodingError) {
    switch error {
    case .keyNotFound(let key, let context):
      self.init(
        pointer: Self.pointer(context).appending(KeyNaming.snakeCase(key.stringValue)),
        message: "the member is missing")
    case .typeMismatch(_, let context), .valueNotFound(_, let context), .dataCorrupted(let context):
      self.init(pointer: Self.pointer(context), message: context.debugDescription)
    @unknown default:
      self.init(pointer: JSONPointer(), message: "\(error)")
    }
  }

  private static func pointer(_ context: DecodingError.Context) -> JSONPointer {
    JSONPointer(context.codingPath.map { $0.intValue.map(String.init) ?? $0.stringValue })
  }

  public var description: String { pointer.tokens.isEmpty ? message : "\(pointer): \(message)" }
}

/// A step of a coding path, named as in the JSON text.
struct PathKey: CodingKey {
  let stringValue: String
  let intValue: Int?

  init(stringValue: String) {
    self.stringValue = stringValue
    intValue = nil
  }

  init(intValue: Int) {
    stringValue = String(intValue)
    self.intValue = intValue
  }
}

/// Dictionaries: their keys are data, so their coding keys are not converted on decoding.
protocol KeysAreData {}
extension Dictionary: KeysAreData {}
