import JSON

/// One way in which a request or a response breaks the contract.
public struct Violation: Equatable, Sendable, CustomStringConvertible {
  /// What rule is broken. Closed: callers map each to a code of theirs.
  public enum Kind: String, Sendable, CaseIterable {
    /// A member that the schema does not know.
    case unknownField
    /// A query parameter that the operation does not know.
    case unknownParameter
    /// A required member, parameter, header or body is absent.
    case missing
    case wrongType
    /// A number beyond its bounds, or no multiple.
    case outOfRange
    case tooLong
    case tooShort
    /// Too many or too few items or members.
    case tooMany
    case tooFew
    case patternMismatch
    /// Not in the form that `format` names.
    case badFormat
    /// None of the listed values or forms.
    case notOneOf
    /// Matches what it must not match.
    case forbidden
    /// The body is no JSON, or a parameter is wrongly encoded.
    case malformed
    /// A parameter given twice, or an item twice where items are unique.
    case duplicate
    /// A member that only the server sets.
    case readOnly
    /// A member that must never leave the server.
    case writeOnly
    /// U+0000 in a string.
    case nullCharacter
    case unsupportedMediaType
    /// A body where the operation takes none.
    case unexpectedBody
    /// A response status that the operation does not document.
    case undocumentedStatus
    /// Too much to check.
    case tooComplex
  }

  /// Where in the message it is.
  public enum Location: Hashable, Sendable, CustomStringConvertible {
    case body(JSONPointer)
    case query(String)
    case path(String)
    case header(String)
    case status

    public var description: String {
      switch self {
      case .body(let pointer): pointer.tokens.isEmpty ? "the body" : "body \(pointer)"
      case .query(let name): "query parameter \(name)"
      case .path(let name): "path parameter \(name)"
      case .header(let name): "header \(name)"
      case .status: "the status"
      }
    }
  }

  /// The rule that is broken.
  public let kind: Kind
  /// Where it is broken.
  public let location: Location
  /// What is wrong and what would work; begins with a verb ("must be at most 100, not 500").
  public let message: String

  public init(_ kind: Kind, _ location: Location, _ message: String) {
    self.kind = kind
    self.location = location
    self.message = message
  }

  public var description: String { "\(location) \(message)" }

  /// How many violations are collected at most for one message.
  public static let limit = 32
}

/// A request that breaks the contract, with everything that is wrong with it (up to `Violation.limit`).
public struct RequestRefusal: Error, Equatable, Sendable, CustomStringConvertible {
  /// At least one.
  public let violations: [Violation]

  init(_ violations: [Violation]) { self.violations = Array(violations.prefix(Violation.limit)) }

  public var description: String { violations.map(\.description).joined(separator: "; ") }
}
