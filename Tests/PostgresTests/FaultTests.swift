import Glibc
import TestSupport
import Testing

@testable import Postgres
@testable import PostgresTestSupport

@Suite struct FaultTests {
  /// How many sessions of this database run a statement that contains `text`.
  private func active(_ database: Database, _ text: String) async throws -> Int {
    let row = try await database.one(
      """
      SELECT count(*) FROM pg_stat_activity
      WHERE datname = current_database() AND state = 'active' AND query LIKE \(text) AND pid <> pg_backend_pid()
      """)
    return try row?.get(0) ?? 0
  }

  @Test("cancelling the task cancels the statement on the server", arguments: [false, true])
  func cancellation(inTransaction: Bool) async throws {
    let database = try await makeDatabase(poolSize: 2)
    let task = Task {
      if inTransaction {
        try await database.transaction { session in try session.execute("SELECT pg_sleep(600)") }
      } else {
        try await database.execute("SELECT pg_sleep(600)")
      }
    }
    try await eventually("the statement runs") { try await active(database, "%pg_sleep(600)%") == 1 }
    task.cancel()
    #expect(await failureKind { try await task.value } == .cancelled)
    #expect(try await active(database, "%pg_sleep(600)%") == 0)
    // Those connections are good: nothing of the cancellation reaches the next statements.
    for _ in 0..<50 { try await database.execute("SELECT 1") }
    await database.shutdown()
  }

  @Test("a cancelled task's transaction does not go on to its next statement, and does not commit")
  func cancelledBetweenStatements() async throws {
    let database = try await makeDatabase(poolSize: 2)
    try await database.execute("CREATE TABLE t (n int)")
    for swallow in [false, true] {
      let task = Task {
        try await database.transaction { session in
          try session.execute("INSERT INTO t VALUES (1)")
          if swallow {
            _ = try? session.execute("SELECT pg_sleep(600)")
          } else {
            try session.execute("SELECT pg_sleep(600)")
          }
        }
      }
      try await eventually("the statement runs") { try await active(database, "%pg_sleep(600)%") == 1 }
      task.cancel()
      #expect(await failureKind { try await task.value } == .cancelled)
    }
    #expect(try await database.one("SELECT count(*) FROM t")?.get(0) == 0)
    await database.shutdown()
  }

  @Test("random cancellations never hit another task's statement")
  func cancellationStorm() async throws {
    let database = try await makeDatabase(poolSize: 4)
    let cancelled = try await withThrowingTaskGroup(of: Bool.self) { group in
      for n in 0..<200 {
        group.addTask {
          if n % 2 == 0 {
            try await database.execute("SELECT pg_sleep(0.002)")
            return false
          }
          let task = Task { try await database.execute("SELECT pg_sleep(0.003)") }
          try await Task.sleep(for: .microseconds(Int.random(in: 0..<6_000)))
          task.cancel()
          let kind = await failureKind { try await task.value }
          #expect(kind == nil || kind == .cancelled)
          return kind == .cancelled
        }
      }
      return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
    }
    #expect(cancelled > 0, "the storm has cancelled something")
    await database.shutdown()
  }

  @Test("a statement that takes too long ends with a timeout")
  func statementTimeout() async throws {
    let database = try await makeDatabase(poolSize: 1) { $0.statementTimeout = .milliseconds(50) }
    #expect(await failureKind { try await database.execute("SELECT pg_sleep(600)") } == .timeout)
    #expect(try await database.one("SELECT 1")?.get(0) == 1)
    await database.shutdown()
  }

  @Test("a server that falls silent is given up")
  func silence() async throws {
    let database = try await makeDatabase(poolSize: 1) {
      $0.statementTimeout = .milliseconds(100)
      $0.silenceGrace = .milliseconds(200)
      $0.sessionSetup = ["SET statement_timeout = 0"]
    }
    let lost = await failureKind {
      try await database.transaction { session in try session.execute("SELECT pg_sleep(600)") }
    }
    #expect(lost == .connectionLost)
    #expect(await failureKind { try await database.execute("SELECT pg_sleep(600)") } == .outcomeUnknown)
    await database.shutdown()
  }

  /// A server of this test's own whose processes are all stopped: it keeps its sockets and says nothing.
  private func freeze(_ server: PostgresServer, _ signal: Int32) throws {
    let postmaster = try #require(server.processID)
    for process in [postmaster] + childProcesses(of: postmaster) { kill(process, signal) }
  }

  @Test("cancelling gives up on a server that is silent, and so does the end of the program")
  func cancelledInSilence() async throws {
    let server = try await PostgresServer.start()
    let database = try await makeDatabase(on: server, poolSize: 2) {
      $0.statementTimeout = .seconds(600)
    }
    let observer = try open(server.url(database: "postgres"), poolSize: 1)
    let cancelled = Task { try await database.execute("SELECT pg_sleep(601)") }
    let left = Task { try await database.execute("SELECT pg_sleep(602)") }
    try await eventually("both statements run") {
      try await observer.one("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60%'")?.get(0)
        == 2
    }
    try freeze(server, SIGSTOP)
    cancelled.cancel()
    // Either would hang for as long as the server is stopped, without limits of our own. Nobody can say what it did.
    #expect(await failureKind { try await cancelled.value } == .outcomeUnknown)
    await database.shutdown(grace: .zero)
    #expect(await failureKind { try await left.value } == .outcomeUnknown)
    try freeze(server, SIGCONT)
    await observer.shutdown()
    await server.stop()
  }

  @Test("who waits too long for a connection is told so; who is cancelled while waiting leaves the queue")
  func exhaustion() async throws {
    let database = try await makeDatabase(poolSize: 1) { $0.poolTimeout = .milliseconds(200) }
    let observer = try await open(PostgresServer.shared.url(database: "postgres"), poolSize: 1)
    let name: String? = try await database.one("SELECT current_database()")?.get(0)
    let hog = Task { try await database.execute("SELECT pg_sleep(600)") }
    try await eventually("the only connection is taken") {
      try await observer.one("SELECT 1 FROM pg_stat_activity WHERE datname = \(name) AND query LIKE '%pg_sleep%'")
        != nil
    }
    let cancelled = Task { try await database.execute("SELECT 1") }
    cancelled.cancel()
    #expect(await failureKind { try await cancelled.value } == .cancelled)
    async let first = failureKind { try await database.execute("SELECT 1") }
    async let second = failureKind { try await database.execute("SELECT 1") }
    let kinds = await [first, second]
    #expect(kinds == [.poolExhausted, .poolExhausted])
    hog.cancel()
    #expect(await failureKind { try await hog.value } == .cancelled)
    #expect(try await database.one("SELECT 1")?.get(0) == 1)
    await database.shutdown()
    await observer.shutdown()
  }

  @Test("after a shutdown nothing is accepted, and what ran has ended")
  func shutdown() async throws {
    let database = try await makeDatabase(poolSize: 2)
    try await database.execute("CREATE TABLE t (n int)")
    let running = Task {
      try await database.transaction { session in
        try session.execute("INSERT INTO t SELECT 1 FROM pg_sleep(0.1)")
      }
    }
    let observer = try open(database.configuration.url)
    try await eventually("the statement runs") { try await active(observer, "%pg_sleep(0.1)%") == 1 }
    await database.shutdown()
    #expect(try await running.value == 1)
    #expect(await failureKind { try await database.execute("SELECT 1") } == .shutDown)
    await observer.shutdown()
  }

  @Test("a connection string that cannot be read is refused at once, a server that is not there by the deadline")
  func connecting() async throws {
    #expect(await failureKind { try open("nonsense") } == .configuration)
    let database = try open("postgresql:///x?host=/nowhere") { $0.poolTimeout = .milliseconds(300) }
    #expect(await failureKind { try await database.execute("SELECT 1") } == .connectFailed)
    let patient = try open("postgresql:///x?host=/nowhere") { $0.poolTimeout = .seconds(600) }
    let task = Task { try await patient.execute("SELECT 1") }
    let other = Task { try await patient.execute("SELECT 1") }
    try await Task.sleep(for: .milliseconds(5))
    task.cancel()
    #expect(await failureKind { try await task.value } == .cancelled)
    await patient.shutdown()
    #expect(await failureKind { try await other.value } == .shutDown)
    await database.shutdown()
  }
}
