import JSON

/// An error that the server reports (RFC 7047, 3.1 `<error>`, and ovsdb-server(7)).
public struct ServerFault: Sendable, Hashable, CustomStringConvertible {
  /// What kind of error; what this client does not know is `other`.
  public enum Code: Sendable, Hashable {
    case aborted, constraintViolation, domainError, duplicateUUID, duplicateUUIDName, ioError, notLeader, notOwner,
      rangeError, referentialIntegrityViolation, resourcesExhausted, syntaxError, timedOut, unknownColumn,
      unknownDatabase, unknownMethod, unknownTable, notSupported, notAllowed, permissionError, canceled
    case other(String)

    init(wire: String) {
      self = Self.known[wire] ?? .other(wire)
    }

    private static let known: [String: Code] = [
      "aborted": .aborted, "constraint violation": .constraintViolation, "domain error": .domainError,
      "duplicate uuid": .duplicateUUID, "duplicate uuid-name": .duplicateUUIDName, "I/O error": .ioError,
      "not leader": .notLeader, "not owner": .notOwner, "range error": .rangeError,
      "referential integrity violation": .referentialIntegrityViolation, "resources exhausted": .resourcesExhausted,
      "syntax error": .syntaxError, "timed out": .timedOut, "unknown column": .unknownColumn,
      "unknown database": .unknownDatabase, "unknown method": .unknownMethod, "unknown table": .unknownTable,
      "not supported": .notSupported, "not allowed": .notAllowed, "permission error": .permissionError,
      "canceled": .canceled,
    ]
  }

  public let code: Code
  /// The server's word for the error.
  public let error: String
  /// The server's explanation; may quote values of the transaction.
  public let details: String?
  /// The part of the request that the server could not read.
  public let syntax: String?

  /// Reads an `<error>`, which some servers shorten to a string; nil when the JSON is none.
  init?(json: JSONValue) {
    if let error = json.stringValue {
      (self.error, details, syntax) = (error, nil, nil)
    } else {
      guard let error = json["error"]?.stringValue else { return nil }
      (self.error, details, syntax) = (error, json["details"]?.stringValue, json["syntax"]?.stringValue)
    }
    code = Code(wire: error)
  }

  public var description: String { [error, details].compactMap(\.self).joined(separator: ": ") }
}
