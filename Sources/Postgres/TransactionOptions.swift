/// How a transaction runs.
public struct TransactionOptions: Sendable {
  /// PostgreSQL's isolation levels.
  public enum Isolation: Sendable {
    case readCommitted, repeatableRead, serializable
  }

  public var isolation: Isolation
  public var readOnly: Bool
  /// How often the whole closure is repeated when the server undid it (40001, 40P01).
  public var retries: Int
  /// Instead of the database's; `.zero` is none.
  public var statementTimeout: Duration?
  /// Everything is done and checked, deferred constraints too, and then rolled back: a dry run.
  public var discard: Bool

  public init(
    isolation: Isolation = .readCommitted, readOnly: Bool = false, retries: Int = 10,
    statementTimeout: Duration? = nil, discard: Bool = false
  ) {
    self.isolation = isolation
    self.readOnly = readOnly
    self.retries = retries
    self.statementTimeout = statementTimeout
    self.discard = discard
  }

  public static let readCommitted = TransactionOptions()
  public static let repeatableRead = TransactionOptions(isolation: .repeatableRead)
  public static let serializable = TransactionOptions(isolation: .serializable)
  /// Reads only, all from one snapshot.
  public static let snapshot = TransactionOptions(isolation: .repeatableRead, readOnly: true)

  /// Sent together with the first statement.
  var opening: [SQL] {
    var statements: [SQL] =
      switch (isolation, readOnly) {
      case (.readCommitted, false): ["BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"]
      case (.readCommitted, true): ["BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY"]
      case (.repeatableRead, false): ["BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE"]
      case (.repeatableRead, true): ["BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"]
      case (.serializable, false): ["BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE"]
      case (.serializable, true): ["BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY"]
      }
    if let statementTimeout {
      statements.append("SELECT set_config('statement_timeout', \(String(statementTimeout.milliseconds)), true)")
    }
    return statements
  }

  /// Ends the transaction.
  var closing: [SQL] { discard ? ["SET CONSTRAINTS ALL IMMEDIATE", "ROLLBACK"] : ["COMMIT"] }
}
