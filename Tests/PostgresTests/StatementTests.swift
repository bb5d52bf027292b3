import Testing

@testable import Postgres

@Suite struct StatementTests {
  @Test("an error names what the server names: constraint, table, column", arguments: [false, true])
  func errors(inTransaction: Bool) async throws {
    let database = try await makeDatabase(poolSize: 1)
    try await database.run { session in
      _ = try session.pipeline([
        "CREATE TABLE owner (id int PRIMARY KEY)",
        """
        CREATE TABLE t (id int PRIMARY KEY, name text NOT NULL, size int CONSTRAINT t_size_positive CHECK (size > 0),
          owner int CONSTRAINT t_owner REFERENCES owner, CONSTRAINT t_name UNIQUE (name))
        """,
        "INSERT INTO t VALUES (1, 'a', 1, NULL)",
      ])
    }
    func attempt(_ sql: SQL) async -> PostgresError? {
      await failure {
        if inTransaction { return try await database.transaction { try $0.execute(sql) } }
        return try await database.execute(sql)
      }
    }
    let unique = await attempt("INSERT INTO t VALUES (2, 'a', 1, NULL)")
    #expect(unique?.isUniqueViolation("t_name") == true && unique?.isUniqueViolation("t_pkey") == false)
    #expect(unique?.table == "t")
    #expect(unique?.detail?.contains("(a)") == true)
    #expect(unique?.description.contains("(a)") == false)
    let check = await attempt("INSERT INTO t VALUES (2, 'b', 0, NULL)")
    #expect(check?.isCheckViolation("t_size_positive") == true)
    let foreign = await attempt("INSERT INTO t VALUES (2, 'b', 1, 5)")
    #expect(foreign?.isForeignKeyViolation("t_owner") == true)
    let null = await attempt("INSERT INTO t VALUES (2, \(String?.none), 1, NULL)")
    #expect(null?.kind == .server(.notNullViolation) && null?.column == "name")
    let value = await attempt("SELECT \("hunter2")::int")
    #expect(value?.sqlState?.errorClass == "22" && value?.description.contains("hunter2") == false)
    let syntax = await attempt("SELEC 1")
    #expect(syntax?.sqlState == SQLState(rawValue: "42601"))
    #expect(try await database.one("SELECT count(*) FROM t")?.get(0) == 1)
    await database.shutdown()
  }

  @Test("one gives nothing for nothing and refuses two rows")
  func one() async throws {
    let database = try await makeDatabase(poolSize: 1)
    #expect(try await database.one("SELECT 1 WHERE false") == nil)
    #expect(await failureKind { try await database.one("SELECT generate_series(1, 2)") } == .rowCount)
    #expect(await failureKind { try await database.run { try $0.one("SELECT generate_series(1, 2)") } } == .rowCount)
    await database.shutdown()
  }

  @Test("an error in the middle of a pipeline reaches its statement, and the connection goes on")
  func pipelineError() async throws {
    let database = try await makeDatabase(poolSize: 1)
    try await database.transaction { session in
      let results = try session.pipeline(["SELECT 1", "SELECT \(2)::int", "SELECT 'three'"])
      #expect(try results[1].first?.get(0) == 2)
      do {
        try session.savepoint { _ = try session.pipeline(["SELECT 1", "SELECT 1 / \(0)", "SELECT nowhere"]) }
        Issue.record("a division by zero succeeded")
      } catch let error as PostgresError {
        #expect(error.statementIndex == 1)
        #expect(error.sqlState == SQLState(rawValue: "22012"))
      }
      #expect(try session.one("SELECT 4")?.get(0) == 4)
    }
    await database.shutdown()
  }

  @Test("a long pipeline with much output does not block both ends")
  func bigPipeline() async throws {
    let database = try await makeDatabase(poolSize: 1)
    let filler = String(repeating: "x", count: 100_000)
    let statements = (0..<200).map { n -> SQL in "SELECT \(n)::int, repeat('y', 100000), \(filler)::text" }
    let rows = try await database.run { try $0.pipeline(statements) }
    #expect(try rows.map { try $0[0].get(0, as: Int.self) } == Array(0..<200))
    await database.shutdown()
  }

  @Test("more different statements than the bound leave no more prepared than it")
  func statementBound() async throws {
    let database = try await makeDatabase(poolSize: 1) { $0.preparedStatements = 16 }
    for n in 0..<60 {
      let columns = SQL.joined((0...n).map { "\($0)::int" })
      let row = try await database.one("SELECT \(fragment: columns)")
      #expect(try row?.get(n) == n)
    }
    let prepared: Int? = try await database.one("SELECT count(*) FROM pg_prepared_statements")?.get(0)
    #expect((1...17).contains(prepared ?? 0))
    await database.shutdown()
  }

  @Test("a statement whose table changed under it is prepared anew", arguments: [false, true])
  func stalePlan(inTransaction: Bool) async throws {
    let database = try await makeDatabase(poolSize: 1)
    try await database.execute("CREATE TABLE t (a int)")
    try await database.execute("INSERT INTO t VALUES (1)")
    func columns() async throws -> Int {
      if inTransaction { return try await database.transaction { try $0.query("SELECT * FROM t").columns.count } }
      return try await database.query("SELECT * FROM t").columns.count
    }
    #expect(try await columns() == 1)
    try await database.execute("ALTER TABLE t ADD b int")
    #expect(try await columns() == 2)
    try await database.execute("DISCARD ALL")
    #expect(try await columns() == 2)
    await database.shutdown()
  }

  @Test("ten thousand rows are copied, with every character that COPY gives a meaning")
  func copy() async throws {
    let database = try await makeDatabase(poolSize: 1)
    try await database.execute(#"CREATE TABLE "Odd ""name" (n int, "te xt" text, b bytea, a text[])"#)
    let odd = "tab\t line\n return\r back\\slash \\N \\. quote' \u{1F418}"
    let count = try await database.transaction { session in
      try session.copyIn(
        table: #"Odd "name"#, columns: ["n", "te xt", "b", "a"],
        rows: (0..<10_000).lazy.map { n in
          [n, n == 5 ? nil : odd, [UInt8(1), 0, 255], [odd]] as [any PostgresEncodable]
        })
    }
    #expect(count == 10_000)
    let row = try #require(
      try await database.one(
        #"SELECT count(*), count("te xt"), count(DISTINCT "te xt"), min("te xt"), min(b::text), min(a[1]) FROM "Odd ""name""#
      ))
    #expect(try row.get(0) == 10_000 && row.get(1) == 9_999 && row.get(2) == 1)
    #expect(try row.get(3) == odd && row.get(4) == #"\x0100ff"# && row.get(5) == odd)
    await database.shutdown()
  }

  @Test("a copy that fails, on either side, leaves nothing and a good connection")
  func copyFails() async throws {
    struct GaveUp: Error {}
    let database = try await makeDatabase(poolSize: 1)
    try await database.execute("CREATE TABLE t (n int PRIMARY KEY)")
    let rows = [[1], [2], [2]] as [[any PostgresEncodable]]
    let twice = await failure { try await database.run { try $0.copyIn(table: "t", columns: ["n"], rows: rows) } }
    #expect(twice?.isUniqueViolation("t_pkey") == true)
    let short = await failureKind {
      try await database.run {
        try $0.copyIn(table: "t", columns: ["n"], rows: [[1], []] as [[any PostgresEncodable]])
      }
    }
    #expect(short == .encode)
    let nowhere = await failure { try await database.run { try $0.copyIn(table: "x", columns: ["n"], rows: rows) } }
    #expect(nowhere?.sqlState == SQLState(rawValue: "42P01"))
    #expect(try await database.one("SELECT count(*) FROM t")?.get(0) == 0)
    await database.shutdown()
  }

  @Test("COPY as a plain statement is refused and costs only its connection")
  func plainCopy() async throws {
    let database = try await makeDatabase(poolSize: 1)
    #expect(await failure { try await database.query("COPY (SELECT 1) TO STDOUT") } != nil)
    #expect(try await database.one("SELECT 1")?.get(0) == 1)
    await database.shutdown()
  }

  @Test("the session's setup runs on every connection")
  func setup() async throws {
    let database = try await makeDatabase(poolSize: 3) {
      $0.sessionSetup = ["SET aloft.now = '2001-01-01'", "SET work_mem = '5MB'"]
    }
    try await withThrowingTaskGroup(of: String?.self) { group in
      for _ in 0..<6 {
        group.addTask {
          try await database.one("SELECT current_setting('aloft.now') || current_setting('work_mem'), pg_sleep(0.02)")?
            .get(0)
        }
      }
      for try await seen in group { #expect(seen == "2001-01-015MB") }
    }
    await database.shutdown()
  }
}
