/// What went wrong between this program and PostgreSQL.
///
/// Its `description` is fit for logs: it holds no parameter values, which the server likes to quote in details and in the
/// messages of class 22.
public struct PostgresError: Error, Sendable {
  /// The closed set of reasons.
  public enum Kind: Sendable, Hashable {
    /// The connection string or an option is wrong; nothing was tried.
    case configuration
    /// No connection could be made within the pool's deadline.
    case connectFailed
    /// The connection was lost (or the server fell silent) before the commit was sent: nothing was committed.
    case connectionLost
    /// The connection was lost after a commit, or a statement that commits by itself, was sent: it may or may not have
    /// happened. The caller has to look.
    case outcomeUnknown
    /// All connections stayed busy for the pool's deadline.
    case poolExhausted
    /// The database was shut down.
    case shutDown
    /// The task was cancelled; nothing was committed.
    case cancelled
    /// The server gave the statement up after its `statement_timeout`.
    case timeout
    /// The server refused; the state says why.
    case server(SQLState)
    /// A value cannot be sent, such as text with a NUL character.
    case encode
    /// A column does not hold what was asked for.
    case decode
    /// `one` found more than one row.
    case rowCount
    /// The session was used against its rules.
    case misuse
  }

  /// What the server said about an error, besides its state.
  public struct Report: Sendable, Hashable {
    public var schema: String?
    public var table: String?
    public var column: String?
    public var constraint: String?
    public var dataType: String?
    /// May quote values of rows: for decisions and for the one who sent them, never for logs.
    public var detail: String?
    public var hint: String?
    /// The server's function that raised the error.
    var routine: String?
    /// The server's own words; they may quote values (class 22).
    var message = ""
  }

  public let kind: Kind
  /// What happened, without values.
  public let message: String
  /// The server's code, also where `kind` says more than the code does (timeout, cancelled, lost).
  public internal(set) var sqlState: SQLState?
  public internal(set) var report: Report?
  /// In a pipeline, which statement failed (from 0).
  public internal(set) var statementIndex: Int?

  init(_ kind: Kind, _ message: String, sqlState: SQLState? = nil, report: Report? = nil) {
    self.kind = kind
    self.message = message
    self.sqlState = sqlState
    self.report = report
  }

  public var constraint: String? { report?.constraint }
  public var table: String? { report?.table }
  public var column: String? { report?.column }
  public var detail: String? { report?.detail }
  public var hint: String? { report?.hint }
  /// The server's own words. They may quote values, so they must not be logged; `message` may.
  public var serverMessage: String? { report?.message }

  /// Whether this is a broken unique (or primary key) constraint, and that one if a name is given.
  public func isUniqueViolation(_ constraint: String? = nil) -> Bool { violates(.uniqueViolation, constraint) }
  /// Whether this is a broken foreign key, and that one if a name is given.
  public func isForeignKeyViolation(_ constraint: String? = nil) -> Bool { violates(.foreignKeyViolation, constraint) }
  /// Whether this is a broken check constraint, and that one if a name is given.
  public func isCheckViolation(_ constraint: String? = nil) -> Bool { violates(.checkViolation, constraint) }
  /// Whether this is a broken exclusion constraint, and that one if a name is given.
  public func isExclusionViolation(_ constraint: String? = nil) -> Bool { violates(.exclusionViolation, constraint) }

  private func violates(_ state: SQLState, _ constraint: String?) -> Bool {
    kind == .server(state) && (constraint == nil || constraint == self.constraint)
  }

  /// The transaction was undone by the server for reasons that another attempt does not meet again.
  public var isRetryable: Bool {
    switch kind {
    case .server(.serializationFailure), .server(.deadlockDetected): true
    default: isStaleStatement
    }
  }

  /// A prepared statement no longer fits the tables (a migration ran) or is gone: preparing it again helps.
  var isStaleStatement: Bool {
    kind == .server(.unknownStatement)
      || kind == .server(.featureNotSupported) && report?.routine == "RevalidateCachedQuery"
  }

  func with(kind: Kind, _ message: String) -> PostgresError {
    PostgresError(kind, message, sqlState: sqlState, report: report)
  }
}

extension PostgresError: CustomStringConvertible {
  public var description: String {
    var text = "\(kind): \(message)"
    if let sqlState, kind != .server(sqlState) { text += " [\(sqlState)]" }
    if let statementIndex { text += ", statement \(statementIndex)" }
    if let table { text += ", table \(table)" }
    if let column { text += ", column \(column)" }
    if let constraint { text += ", constraint \(constraint)" }
    return text
  }
}

extension PostgresError.Kind: CustomStringConvertible {
  public var description: String {
    switch self {
    case .configuration: "configuration"
    case .connectFailed: "connect failed"
    case .connectionLost: "connection lost"
    case .outcomeUnknown: "outcome unknown"
    case .poolExhausted: "pool exhausted"
    case .shutDown: "shut down"
    case .cancelled: "cancelled"
    case .timeout: "timeout"
    case .server(let state): "server error \(state)"
    case .encode: "encode"
    case .decode: "decode"
    case .rowCount: "row count"
    case .misuse: "misuse"
    }
  }
}
