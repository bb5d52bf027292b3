/// A five-character error code of the SQL standard and PostgreSQL (PostgreSQL documentation, appendix A).
public struct SQLState: RawRepresentable, Sendable, Hashable, CustomStringConvertible {
  public let rawValue: String

  public init(rawValue: String) { self.rawValue = rawValue }

  public var description: String { rawValue }

  public static let notNullViolation = SQLState(rawValue: "23502")
  public static let foreignKeyViolation = SQLState(rawValue: "23503")
  public static let uniqueViolation = SQLState(rawValue: "23505")
  public static let checkViolation = SQLState(rawValue: "23514")
  public static let exclusionViolation = SQLState(rawValue: "23P01")
  public static let serializationFailure = SQLState(rawValue: "40001")
  public static let deadlockDetected = SQLState(rawValue: "40P01")
  public static let inFailedTransaction = SQLState(rawValue: "25P02")
  public static let lockNotAvailable = SQLState(rawValue: "55P03")
  public static let queryCanceled = SQLState(rawValue: "57014")
  /// The server's answer when a prepared statement is unknown, for example after `DISCARD ALL`.
  static let unknownStatement = SQLState(rawValue: "26000")
  static let featureNotSupported = SQLState(rawValue: "0A000")

  /// The first two characters: the class of the condition.
  public var errorClass: String { String(rawValue.prefix(2)) }

  /// The server ended the session: what was in flight got no answer.
  var endsSession: Bool {
    errorClass == "08" || ["57P01", "57P02", "57P03", "57P05", "25P03"].contains(rawValue)
  }
}
