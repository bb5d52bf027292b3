/// One attempt at a transaction: what came of it, and whether another makes sense.
enum TransactionAttempt<Value: Sendable>: Sendable {
  enum Repetition: Sendable {
    case never
    /// The server undid it because of others (40001, 40P01).
    case afterBackoff
    /// The connection had died while it was idle; nothing was executed.
    case onFreshConnection
  }

  case succeeded(Value)
  case failed(any Error, Repetition)

  /// Runs `body` in a transaction on the connection's thread. On failure the transaction is rolled back by the worker, which
  /// leaves every connection clean.
  static func run(
    on connection: Connection, _ options: TransactionOptions, _ body: (Session) throws -> Value
  ) -> TransactionAttempt {
    let session = Session(connection, mode: .transaction(options))
    do {
      let value = try body(session)
      try session.finish()
      return .succeeded(value)
    } catch {
      return .failed(error, repetition(after: error, session))
    }
  }

  private static func repetition(after error: any Error, _ session: Session) -> Repetition {
    if (error as? PostgresError)?.kind == .outcomeUnknown { return .never }
    // The closure may have wrapped the server's refusal in an error of its own, or run into its consequences.
    guard let cause = session.firstFailure ?? error as? PostgresError else { return .never }
    switch cause.kind {
    case .connectionLost: return session.answered == 0 ? .onFreshConnection : .never
    default: return cause.isRetryable ? .afterBackoff : .never
    }
  }
}
