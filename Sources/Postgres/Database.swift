import Execution
import Logging

/// A PostgreSQL database, through a pool of connections.
///
/// Invariants:
/// - A transaction is a synchronous closure on its connection's own thread. It cannot `await`, so it never holds a lock of
///   the database while waiting for anything but the database.
/// - Every error is a ``PostgresError``, or one that the closure threw itself. `outcomeUnknown` is the only one after which
///   a change may have been made.
/// - Task-local values are not visible inside a closure, and `Task.isCancelled` is not either: a cancelled caller's
///   closure fails at its next statement, and the statement that runs is cancelled on the server.
public final class Database: Sendable {
  let configuration: DatabaseConfiguration
  let logger: Logger
  private let pool: Pool
  let listeners = Lock<[ObjectIdentifier: Listener]>([:])

  /// Connects when first used. Throws `configuration` for a connection string that cannot be read.
  public init(configuration: DatabaseConfiguration, logger: Logger) throws(PostgresError) {
    guard configuration.poolSize > 0 else {
      throw PostgresError(.configuration, "the pool size is \(configuration.poolSize); it must be at least 1")
    }
    try Connection.check(url: configuration.url)
    self.configuration = configuration
    self.logger = logger
    pool = try Pool(configuration, logger: logger)
  }

  /// Runs `body` in a transaction and commits; rolls back if it throws.
  ///
  /// `body` is run again, whole, when the server undid the transaction because of others (40001, 40P01) or when an idle
  /// connection turned out to be dead at its first statement. It must therefore have no effect besides the database.
  /// Errors: what `body` throws, and every kind of ``PostgresError``.
  @discardableResult
  public func transaction<Value: Sendable>(
    _ options: TransactionOptions = .readCommitted, _ body: @escaping @Sendable (Session) throws -> Value
  ) async throws -> Value {
    await configuration.interlude?()
    return try await repeating(retries: options.retries) { connection in
      TransactionAttempt.run(on: connection, options, body)
    }
  }

  /// Runs `body` with a session that commits every statement by itself. Nothing is repeated.
  @discardableResult
  public func run<Value: Sendable>(_ body: @escaping @Sendable (Session) throws -> Value) async throws -> Value {
    try await pool.run { connection in
      Result { try body(Session(connection, mode: .autocommit)) }
    }
  }

  /// Runs one statement that commits by itself; repeats it when the server undid it because of others (40001, 40P01).
  public func query(_ sql: SQL) async throws -> Rows {
    try await repeating(retries: TransactionOptions.readCommitted.retries) { connection in
      do throws(PostgresError) {
        return .succeeded(try Session(connection, mode: .autocommit).query(sql))
      } catch {
        return .failed(error, error.isRetryable ? .afterBackoff : .never)
      }
    }
  }

  /// Like ``query(_:)``; gives the only row, nil if there is none, and fails with `rowCount` if there are more.
  public func one(_ sql: SQL) async throws -> Row? {
    let rows = try await query(sql)
    guard rows.count <= 1 else { throw PostgresError(.rowCount, "one row was asked for, \(rows.count) came") }
    return rows.first
  }

  /// Like ``query(_:)``; gives the number of rows changed.
  @discardableResult
  public func execute(_ sql: SQL) async throws -> Int { try await query(sql).affected }

  /// Refuses new work, lets what runs end, ends all listeners, and closes the connections. What runs longer than `grace` is
  /// cancelled.
  public func shutdown(grace: Duration = .seconds(10)) async {
    for listener in listeners.withLock({ Array($0.values) }) { listener.stop() }
    await pool.shutDown(grace: grace)
  }

  private func repeating<Value: Sendable>(
    retries: Int, _ attempt: @escaping @Sendable (Connection) -> TransactionAttempt<Value>
  ) async throws -> Value {
    var repetitions = 0
    var triedFresh = false
    while true {
      let outcome = try await pool.run { .success(attempt($0)) }
      switch outcome {
      case .succeeded(let value): return value
      case .failed(_, .onFreshConnection) where !triedFresh: triedFresh = true
      case .failed(_, .afterBackoff) where repetitions < retries:
        repetitions += 1
        do {
          try await Task.sleep(for: configuration.retryBackoff.delay(attempt: repetitions))
        } catch {
          throw PostgresError(.cancelled, "the task was cancelled")
        }
      case .failed(let error, _): throw error
      }
    }
  }
}
