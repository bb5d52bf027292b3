import PostgresTestSupport
import TestSupport
import Testing

@testable import Postgres

@Suite struct TransactionTests {
  struct Refused: Error {}

  @Test("what a closure did is there when it returns, and gone when it throws")
  func commitsAndRollsBack() async throws {
    let database = try await makeDatabase(poolSize: 1)
    try await database.execute("CREATE TABLE t (n int)")
    let inserted = try await database.transaction { session in try session.execute("INSERT INTO t VALUES (1), (2)") }
    #expect(inserted == 2)
    await #expect(throws: Refused.self) {
      try await database.transaction { session in
        try session.execute("INSERT INTO t VALUES (3)")
        throw Refused()
      }
    }
    #expect(try await database.one("SELECT count(*) FROM t")?.get(0) == 2)
    await database.shutdown()
  }

  @Test("two transactions that conflict both succeed: one of them is repeated")
  func retries() async throws {
    let database = try await makeDatabase(poolSize: 4)
    try await database.execute("CREATE TABLE counter (n int)")
    try await database.execute("INSERT INTO counter VALUES (0)")
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<8 {
        group.addTask {
          var options = TransactionOptions.serializable
          options.retries = 100
          try await database.transaction(options) { session in
            let n: Int = try session.one("SELECT n FROM counter")?.get(0) ?? -1
            try session.execute("UPDATE counter SET n = \(n + 1)")
          }
        }
      }
      try await group.waitForAll()
    }
    #expect(try await database.one("SELECT n FROM counter")?.get(0) == 8)
    await database.shutdown()
  }

  @Test("a closure that hides a serialization failure is repeated all the same, and in the end the failure is told")
  func hiddenFailure() async throws {
    let database = try await makeDatabase(poolSize: 1)
    try await database.execute("CREATE SEQUENCE attempts")
    var options = TransactionOptions.readCommitted
    options.retries = 2
    let error = await failure {
      try await database.transaction(options) { session in
        _ = try session.query("SELECT nextval('attempts')")
        _ = try? session.execute("DO $$ BEGIN RAISE EXCEPTION SQLSTATE '40001'; END $$")
      }
    }
    #expect(error?.kind == .server(.serializationFailure))
    #expect(try await database.one("SELECT last_value FROM attempts")?.get(0) == 3)
    await database.shutdown()
  }

  @Test("a closure that swallows an error cannot commit half of it")
  func swallowed() async throws {
    let database = try await makeDatabase(poolSize: 1)
    try await database.execute("CREATE TABLE t (n int PRIMARY KEY)")
    let error = await failure {
      try await database.transaction { session in
        try session.execute("INSERT INTO t VALUES (1)")
        _ = try? session.execute("INSERT INTO t VALUES (1)")
      }
    }
    #expect(error?.isUniqueViolation("t_pkey") == true)
    #expect(try await database.one("SELECT count(*) FROM t")?.get(0) == 0)
    await database.shutdown()
  }

  @Test("a closure that swallows the failure of its commit does not pass for committed")
  func swallowedCommit() async throws {
    let database = try await makeDatabase(poolSize: 1)
    try await database.execute("CREATE TABLE t (n int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)")
    try await database.execute("INSERT INTO t VALUES (1)")
    let error = await failure {
      try await database.transaction { session in
        try session.execute("INSERT INTO t VALUES (2)")
        _ = try? session.commit(with: "INSERT INTO t VALUES (1)")
      }
    }
    #expect(error?.isUniqueViolation("t_pkey") == true)
    #expect(try await database.one("SELECT count(*) FROM t")?.get(0) == 1)
    await database.shutdown()
  }

  @Test("a savepoint undoes only what is inside of it")
  func savepoints() async throws {
    let database = try await makeDatabase(poolSize: 1)
    try await database.execute("CREATE TABLE t (n int PRIMARY KEY)")
    try await database.transaction { session in
      try session.savepoint { try session.execute("INSERT INTO t VALUES (1)") }
      try? session.savepoint {
        try session.execute("INSERT INTO t VALUES (2)")
        try session.savepoint { try session.execute("INSERT INTO t VALUES (3)") }
        try session.execute("INSERT INTO t VALUES (1)")
      }
      try? session.savepoint { () -> Void in throw Refused() }
      // A failure kept inside still undoes the savepoint, and is told.
      do {
        try session.savepoint { _ = try? session.execute("INSERT INTO t VALUES (1)") }
        Issue.record("a savepoint hid its failure")
      } catch {}
      try session.execute("INSERT INTO t VALUES (4)")
      try? session.savepoint { _ = try session.execute("INSERT INTO t VALUES (4)") }
    }
    let numbers = try await database.query("SELECT n FROM t ORDER BY n").map { try $0.get(0, as: Int.self) }
    #expect(numbers == [1, 4])
    await database.shutdown()
  }

  @Test("commit(with:) commits in the round trip of its statement, and is the last")
  func commitWith() async throws {
    let database = try await makeDatabase(poolSize: 1)
    try await database.execute("CREATE TABLE t (n int PRIMARY KEY)")
    let n: Int? = try await database.transaction { session in
      try session.commit(with: "INSERT INTO t VALUES (7) RETURNING n").first?.get(0)
    }
    #expect(n == 7)
    let error = await failure {
      try await database.transaction { session in try session.commit(with: "INSERT INTO t VALUES (7)") }
    }
    #expect(error?.isUniqueViolation() == true)
    let misuse = await failureKind {
      try await database.transaction { session in
        try session.commit(with: "INSERT INTO t VALUES (8)")
        try session.execute("INSERT INTO t VALUES (9)")
      }
    }
    #expect(misuse == .misuse)
    let numbers = try await database.query("SELECT n FROM t ORDER BY n").map { try $0.get(0, as: Int.self) }
    #expect(numbers == [7, 8])
    await database.shutdown()
  }

  @Test("a dry run meets every check, deferred ones too, and leaves nothing")
  func dryRun() async throws {
    let database = try await makeDatabase(poolSize: 1)
    try await database.run { session in
      _ = try session.pipeline([
        "CREATE TABLE a (id int PRIMARY KEY)",
        "CREATE TABLE b (a int REFERENCES a DEFERRABLE INITIALLY DEFERRED)",
      ])
    }
    let dry = TransactionOptions(discard: true)
    try await database.transaction(dry) { session in try session.execute("INSERT INTO a VALUES (1)") }
    let row = try await database.transaction(dry) { session in
      try session.commit(with: "INSERT INTO a VALUES (1) RETURNING id")
    }
    #expect(try row.first?.get(0) == 1)
    let error = await failure {
      try await database.transaction(dry) { session in try session.execute("INSERT INTO b VALUES (1)") }
    }
    #expect(error?.isForeignKeyViolation("b_a_fkey") == true)
    #expect(try await database.one("SELECT count(*) FROM a")?.get(0) == 0)
    await database.shutdown()
  }

  @Test("isolation, read only and the statement timeout are the transaction's own")
  func options() async throws {
    let database = try await makeDatabase(poolSize: 1)
    let seen = try await database.transaction(
      TransactionOptions(isolation: .repeatableRead, readOnly: true, statementTimeout: .seconds(7))
    ) { session in
      try session.pipeline(["SHOW transaction_isolation", "SHOW transaction_read_only", "SHOW statement_timeout"])
        .map { try $0[0].get(0, as: String.self) }
    }
    #expect(seen == ["repeatable read", "on", "7s"])
    #expect(try await database.one("SHOW statement_timeout")?.get(0) == "30s")
    await database.shutdown()
  }

  @Test("statements outside of a transaction commit one by one, and a pipeline as one")
  func autocommit() async throws {
    let database = try await makeDatabase(poolSize: 1)
    try await database.execute("CREATE TABLE t (n int PRIMARY KEY)")
    let error = await failure {
      try await database.run { session in
        try session.execute("INSERT INTO t VALUES (1)")
        _ = try session.pipeline(["INSERT INTO t VALUES (2)", "INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (3)"])
      }
    }
    #expect(error?.isUniqueViolation() == true)
    #expect(error?.statementIndex == 1)
    let numbers = try await database.query("SELECT n FROM t").map { try $0.get(0, as: Int.self) }
    #expect(numbers == [1])
    await database.shutdown()
  }

  @Test("a transaction that was opened by hand does not survive its closure")
  func leftOpen() async throws {
    let database = try await makeDatabase(poolSize: 1)
    try await database.execute("CREATE TABLE t (n int)")
    try await database.run { session in
      try session.execute("BEGIN")
      try session.execute("INSERT INTO t VALUES (1)")
    }
    #expect(try await database.one("SELECT count(*) FROM t")?.get(0) == 0)
    await database.shutdown()
  }
}
