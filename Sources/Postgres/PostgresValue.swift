/// A value on its way to the server.
public enum PostgresValue: Sendable, Hashable {
  case null
  /// In PostgreSQL's text format; the server converts it to the type of the parameter.
  case text(String)
  /// In binary format, which for `bytea` is the bytes themselves.
  case bytes([UInt8])
}

/// What can be bound to a parameter.
public protocol PostgresEncodable: Sendable {
  var postgresValue: PostgresValue { get }
}

/// What can be read from a column.
public protocol PostgresDecodable: Sendable {
  /// Reads the value; fails with the reason when the cell does not hold one of this type.
  init(postgres cell: PostgresCell) throws(PostgresDecodingFailure)
}

/// Both ways.
public typealias PostgresCodable = PostgresEncodable & PostgresDecodable

/// Why a cell could not be read. Holds no value: errors reach logs.
public struct PostgresDecodingFailure: Error, Sendable {
  public let reason: String

  public init(_ reason: String) { self.reason = reason }
}

/// One column of one row, in PostgreSQL's text format.
public struct PostgresCell: Sendable {
  /// Keeps the memory behind `bytes` alive.
  private let owner: any AnyObject & Sendable
  private let start: UInt
  private let count: Int

  init(owner: any AnyObject & Sendable, bytes: UnsafeBufferPointer<UInt8>?) {
    self.owner = owner
    start = bytes?.baseAddress.map { UInt(bitPattern: $0) } ?? 0
    count = bytes?.count ?? 0
  }

  public var isNull: Bool { start == 0 }

  /// The text as a string; fails on NULL.
  public func text() throws(PostgresDecodingFailure) -> String {
    try withBytes { String(decoding: $0, as: UTF8.self) }
  }

  /// The text as bytes, for the length of `body` only; fails on NULL.
  public func withBytes<Result>(
    _ body: (UnsafeBufferPointer<UInt8>) throws(PostgresDecodingFailure) -> Result
  ) throws(PostgresDecodingFailure) -> Result {
    guard let pointer = UnsafePointer<UInt8>(bitPattern: start) else { throw PostgresDecodingFailure("it is NULL") }
    defer { withExtendedLifetime(owner) {} }
    return try body(UnsafeBufferPointer(start: pointer, count: count))
  }
}

extension Optional: PostgresEncodable where Wrapped: PostgresEncodable {
  public var postgresValue: PostgresValue { self?.postgresValue ?? .null }
}

extension Optional: PostgresDecodable where Wrapped: PostgresDecodable {
  public init(postgres cell: PostgresCell) throws(PostgresDecodingFailure) {
    self = cell.isNull ? nil : try Wrapped(postgres: cell)
  }
}

/// Enums with raw values only have to name the protocol.
extension PostgresEncodable where Self: RawRepresentable, RawValue: PostgresEncodable {
  public var postgresValue: PostgresValue { rawValue.postgresValue }
}

extension PostgresDecodable where Self: RawRepresentable, RawValue: PostgresDecodable {
  public init(postgres cell: PostgresCell) throws(PostgresDecodingFailure) {
    guard let value = Self(rawValue: try RawValue(postgres: cell)) else {
      throw PostgresDecodingFailure("it is none of the known cases")
    }
    self = value
  }
}
