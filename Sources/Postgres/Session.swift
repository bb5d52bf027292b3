/// Runs statements on one connection, for the length of one closure, on that connection's own thread.
///
/// Invariants:
/// - In a transaction nothing is sent before the first statement; BEGIN and SAVEPOINT wait in `prefix` and go out with the
///   statement that follows, in the same round trip.
/// - After ``commit(with:)`` (or its failure on the way) no further statement is accepted.
/// - `firstFailure` remembers what the server refused, so that a closure that swallows the error can neither commit nor
///   escape the retry; `endFailure` remembers why the commit itself failed, so that it cannot pass for one.
public final class Session {
  enum Mode {
    case autocommit
    case transaction(TransactionOptions)
  }

  let connection: Connection
  let mode: Mode
  var prefix: [SQL] = []
  var savepoints = 0
  /// How many round trips were begun and how many were answered.
  private(set) var sent = 0
  private(set) var answered = 0
  var firstFailure: PostgresError?
  private var endFailure: PostgresError?
  private(set) var isFinished = false

  init(_ connection: Connection, mode: Mode) {
    self.connection = connection
    self.mode = mode
    if case .transaction(let options) = mode {
      prefix = options.opening
      if let timeout = options.statementTimeout {
        connection.silenceLimit = timeout == .zero ? nil : timeout + connection.configuration.silenceGrace
      }
    }
  }

  /// Runs a statement and gives its rows.
  public func query(_ sql: SQL) throws(PostgresError) -> Rows {
    try rows(of: sql, in: exchange([sql]))
  }

  /// Runs a statement and gives its only row, nil if there is none; more than one is an error (`rowCount`).
  public func one(_ sql: SQL) throws(PostgresError) -> Row? {
    let rows = try query(sql)
    guard rows.count <= 1 else {
      throw PostgresError(.rowCount, "one row was asked for, \(rows.count) came; add a LIMIT or a narrower condition")
    }
    return rows.first
  }

  /// Runs a statement and gives the number of rows it changed.
  @discardableResult
  public func execute(_ sql: SQL) throws(PostgresError) -> Int { try query(sql).affected }

  /// Runs several statements in one round trip. The first that fails ends the pipeline, with its index in the error;
  /// those after it are not run. Outside of a transaction they are all or nothing.
  public func pipeline(_ statements: [SQL]) throws(PostgresError) -> [Rows] {
    if statements.isEmpty { return [] }
    return try exchange(statements).map(Rows.init(result:))
  }

  /// Runs the transaction's last statement and commits, in one round trip (with BEGIN too, if it is also the first).
  ///
  /// The transaction is over then: no statement may follow, and an error thrown by the closure afterwards undoes nothing.
  @discardableResult
  public func commit(with sql: SQL) throws(PostgresError) -> Rows {
    guard case .transaction(let options) = mode else {
      throw PostgresError(.misuse, "commit(with:) needs a transaction; this session commits every statement by itself")
    }
    guard savepoints == 0 else { throw PostgresError(.misuse, "commit(with:) cannot be used inside a savepoint") }
    let results = try exchange([sql], closing: options.closing)
    return try rows(of: sql, in: results)
  }

  /// Commits what is open; called after the closure returned.
  func finish() throws(PostgresError) {
    guard case .transaction(let options) = mode else { return }
    if isFinished {
      if let endFailure { throw endFailure }
      return
    }
    if sent == 0 { return }
    if connection.isInFailedTransaction, prefix.isEmpty, let firstFailure { throw firstFailure }
    try connection.checkUsable()
    // From here on the answer counts, whether or not somebody still waits for it.
    connection.interruptible = false
    defer { connection.interruptible = true }
    _ = try exchange([], closing: options.closing)
  }

  private func rows(of sql: SQL, in results: [QueryResult]) throws(PostgresError) -> Rows {
    guard let result = results.first else { throw PostgresError(.misuse, "the statement gave no result") }
    return Rows(result: result)
  }

  /// One round trip: what waits in `prefix`, `statements`, and `closing` to end the transaction.
  private func exchange(_ statements: [SQL], closing: [SQL] = []) throws(PostgresError) -> [QueryResult] {
    guard !isFinished else {
      throw PostgresError(.misuse, "the transaction is over; commit(with:) must be the last thing it does")
    }
    let before = prefix.count
    let steps = before == 0 && closing.isEmpty ? statements : prefix + statements + closing
    let ends = !closing.isEmpty
    do throws(PostgresError) {
      return try roundTrip(steps, statements: statements.count, before: before, ends: ends)
    } catch {
      if ends { endFailure = error }
      throw error
    }
  }

  private func roundTrip(
    _ steps: [SQL], statements count: Int, before: Int, ends: Bool
  ) throws(PostgresError) -> [QueryResult] {
    let answer = try send(ends: ends) { () throws(PostgresError) in try connection.roundTrip(steps) }
    if var failure = answer.failure {
      if count > 1 { failure.statementIndex = max(0, answer.results.count - before) }
      firstFailure = firstFailure ?? failure
      throw failure
    }
    if ends {
      let tag = answer.results.last?.commandTag
      // The server answers COMMIT of a failed transaction with ROLLBACK, and not with an error.
      if case .transaction(let options) = mode, !options.discard, tag != "COMMIT" {
        throw firstFailure
          ?? PostgresError(.server(.inFailedTransaction), "the transaction had failed before its commit")
      }
    }
    if before == 0, !ends { return answer.results }
    return Array(answer.results[before..<(before + count)])
  }

  /// Accounts for one round trip, and turns a lost connection into an unknown outcome where a commit was on its way.
  func send<Result>(ends: Bool, _ body: () throws(PostgresError) -> Result) throws(PostgresError) -> Result {
    try connection.checkUsable()
    sent += 1
    isFinished = ends
    do throws(PostgresError) {
      let interruption = connection.configuration.interruption?(commits(ends: ends))
      if interruption == .before { throw PostgresError(.connectionLost, "interrupted before it was sent") }
      let result = try body()
      if interruption == .after, leavesOutcomeOpen(ends: ends) {
        throw PostgresError(.outcomeUnknown, "interrupted before the answer came")
      }
      prefix = []
      answered += 1
      return result
    } catch {
      if error.kind == .encode || error.kind == .misuse { sent -= 1 }
      if connection.isBroken, leavesOutcomeOpen(ends: ends) {
        throw error.with(kind: .outcomeUnknown, "no answer to a commit: \(error.message)")
      }
      firstFailure = firstFailure ?? error
      throw error
    }
  }

  /// Whether the round trip ends a transaction that may have written.
  private func commits(ends: Bool) -> Bool {
    if case .transaction = mode { leavesOutcomeOpen(ends: ends) } else { false }
  }

  private func leavesOutcomeOpen(ends: Bool) -> Bool {
    switch mode {
    case .autocommit: true
    case .transaction(let options): ends && !options.readOnly && !options.discard
    }
  }
}
