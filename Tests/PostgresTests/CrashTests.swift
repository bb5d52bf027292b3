import Execution
import PostgresTestSupport
import TestSupport
import Testing

@testable import Postgres

/// Each test has a server of its own, which it kills.
@Suite struct CrashTests {
  @Test("a server killed in the middle of a transaction loses the connection, not the pool")
  func killed() async throws {
    let server = try await PostgresServer.start()
    let database = try await makeDatabase(on: server, poolSize: 4)
    let observer = try open(database.configuration.url)
    try await database.execute("CREATE TABLE t (n int)")
    let inTransaction = Task {
      try await database.transaction { session in
        try session.execute("INSERT INTO t VALUES (1)")
        try session.execute("SELECT pg_sleep(600)")
      }
    }
    let alone = Task { try await database.execute("INSERT INTO t SELECT 2 FROM pg_sleep(600)") }
    let committing = Task {
      try await database.transaction { session in
        try session.commit(with: "INSERT INTO t SELECT 3 FROM pg_sleep(600)")
      }
    }
    try await eventually("all three run") {
      try await observer.one(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()"
      )?.get(0) == 3
    }
    try await server.kill9()
    #expect(await failureKind { try await inTransaction.value } == .connectionLost)
    #expect(await failureKind { try await alone.value } == .outcomeUnknown)
    #expect(await failureKind { try await committing.value } == .outcomeUnknown)
    // Callers that come while the server is away wait for it.
    let waiting = (0..<8).map { n in Task { try await database.execute("INSERT INTO t VALUES (\(10 + n))") } }
    try await server.restart()
    for task in waiting { #expect(try await task.value == 1) }
    #expect(try await database.one("SELECT count(*) FROM t WHERE n < 10")?.get(0) == 0)
    #expect(try await observer.one("SELECT count(*) FROM t")?.get(0) == 8)
    await database.shutdown()
    await observer.shutdown()
    await server.stop()
  }

  @Test("idle connections of a server that was restarted are replaced without anybody noticing")
  func restarted() async throws {
    let server = try await PostgresServer.start()
    let database = try await makeDatabase(on: server, poolSize: 4)
    func work() async throws {
      try await withThrowingTaskGroup(of: Void.self) { group in
        for _ in 0..<8 {
          group.addTask {
            _ = try await database.transaction { session in try session.execute("SELECT pg_sleep(0.01)") }
          }
        }
        try await group.waitForAll()
      }
    }
    try await work()
    try await server.restart()
    try await work()
    await database.shutdown()
    await server.stop()
  }

  @Test("a session that the server ended between two jobs is replaced; one it ended inside a transaction is told")
  func terminated() async throws {
    let server = try await PostgresServer.shared
    let database = try await makeDatabase(poolSize: 1)
    let process: Int? = try await database.one("SELECT pg_backend_pid()")?.get(0)
    try await server.administer("SELECT pg_terminate_backend(\(process ?? 0), 5000)")
    let next: Int? = try await database.transaction { try $0.one("SELECT pg_backend_pid()")?.get(0) }
    #expect(next != process)
    let error = await failure {
      try await database.transaction { session in
        try session.execute("SELECT 1")
        try session.execute("SELECT pg_terminate_backend(pg_backend_pid())")
      }
    }
    #expect(error?.kind == .connectionLost && error?.sqlState == SQLState(rawValue: "57P01"))
    await database.shutdown()
  }

  /// Ends the session of `process` from a connection of its own; for use inside a closure, which may block.
  private static func terminate(_ process: Int?, _ configuration: DatabaseConfiguration) throws {
    let other = try Connection.open(configuration, wakeup: Wakeup(), cancellation: nil)
    _ = try other.roundTrip(["SELECT pg_terminate_backend(\(process ?? 0)::int, 5000)"])
  }

  @Test("a transaction whose idle connection dies before its first statement is repeated on a fresh one, once")
  func diedIdle() async throws {
    let database = try await makeDatabase(poolSize: 1)
    let configuration = database.configuration
    let process: Int? = try await database.one("SELECT pg_backend_pid()")?.get(0)
    let next: Int? = try await database.transaction { session in
      try Self.terminate(process, configuration)
      return try session.one("SELECT pg_backend_pid()")?.get(0)
    }
    #expect(next != nil && next != process)
    let current: Int? = try await database.one("SELECT pg_backend_pid()")?.get(0)
    let alone = await failureKind {
      try await database.run { session in
        try Self.terminate(current, configuration)
        try session.execute("SELECT 1")
      }
    }
    #expect(alone == .outcomeUnknown)
    await database.shutdown()
  }

  @Test("a listener hears what is sent, and hears of the gap when the server was away")
  func listening() async throws {
    let server = try await PostgresServer.start()
    let database = try await makeDatabase(on: server)
    var stream: AsyncStream<Notification>? = database.listen(["work", #"odd "channel"#])
    var iterator = stream?.makeAsyncIterator()
    #expect(await iterator?.next() == .resync)
    try await database.execute(#"NOTIFY work, 'vm_1'"#)
    try await database.execute(#"NOTIFY "odd ""channel""#)
    #expect(await iterator?.next() == .message(channel: "work", payload: "vm_1"))
    #expect(await iterator?.next() == .message(channel: #"odd "channel"#, payload: ""))
    try await server.kill9()
    try await server.restart()
    #expect(await iterator?.next() == .resync)
    try await database.transaction { try $0.execute("SELECT pg_notify('work', \("it's"))") }
    #expect(await iterator?.next() == .message(channel: "work", payload: "it's"))
    iterator = nil
    stream = nil
    try await eventually("the listener's session ends") {
      try await database.one("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")?.get(0) == 0
    }
    await database.shutdown()
    await server.stop()
  }
}
