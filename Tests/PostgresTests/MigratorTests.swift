import Foundation
import PostgresTestSupport
import Testing

@testable import Postgres

@Suite struct MigratorTests {
  /// A directory of migrations, removed at the end.
  private func withDirectory(
    _ files: [String: String], _ body: (String) async throws -> Void
  ) async throws {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("migrations-\(UUID())")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: directory) }
    try write(files, directory.path)
    try await body(directory.path)
  }

  private func write(_ files: [String: String], _ directory: String) throws {
    for (name, text) in files { try Data(text.utf8).write(to: URL(fileURLWithPath: directory + "/" + name)) }
  }

  private let files = [
    "0001_first.sql": "CREATE TABLE a (n int);\nINSERT INTO a VALUES (1); -- it's; fine\n",
    "0002_second.sql": "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1; $$; ALTER TABLE a ADD m int;",
    "0010_third.sql": "INSERT INTO a SELECT 2 FROM pg_sleep(0.05);",
    "README.md": "not a migration",
  ]

  @Test("replicas that start together apply each migration once")
  func racing() async throws {
    try await withDirectory(files) { directory in
      let database = try await makeDatabase(poolSize: 4)
      let applied = try await withThrowingTaskGroup(of: [Int].self) { group in
        for _ in 0..<4 {
          group.addTask {
            try await Migrator(directory: directory).apply(to: database, logger: quiet).map(\.number)
          }
        }
        return try await group.reduce(into: []) { $0 += $1 }
      }
      #expect(applied.sorted() == [1, 2, 10])
      #expect(try await database.one("SELECT count(*) FROM a")?.get(0) == 2)
      let again = try await Migrator(directory: directory).apply(to: database, logger: quiet)
      #expect(again.isEmpty)
      let status = try await Migrator(directory: directory).status(of: database)
      #expect(status.map(\.number) == [1, 2, 10] && status.allSatisfy { $0.appliedAt != nil })
      await database.shutdown()
    }
  }

  @Test("a file that changed after it was applied, one that is gone, and one that comes too late are refused")
  func tampering() async throws {
    try await withDirectory(files) { directory in
      let database = try await makeDatabase(poolSize: 1)
      let migrator = Migrator(directory: directory)
      _ = try await migrator.apply(to: database, logger: quiet)
      try write(["0005_late.sql": "SELECT 1"], directory)
      await #expect(throws: MigrationError.outOfOrder(file: "0005_late.sql", applied: 10)) {
        try await migrator.apply(to: database, logger: quiet)
      }
      try FileManager.default.removeItem(atPath: directory + "/0005_late.sql")
      try write(["0002_second.sql": "SELECT 1"], directory)
      await #expect(throws: MigrationError.changed(file: "0002_second.sql")) {
        try await migrator.apply(to: database, logger: quiet)
      }
      try FileManager.default.removeItem(atPath: directory + "/0002_second.sql")
      await #expect(throws: MigrationError.missing(number: 2, name: "0002_second.sql")) {
        try await migrator.status(of: database)
      }
      await database.shutdown()
    }
  }

  @Test("a migration that fails leaves nothing of itself, and what came before it stays")
  func failing() async throws {
    let broken = ["0001_a.sql": "CREATE TABLE a (n int)", "0002_b.sql": "CREATE TABLE b (n int); SELECT nowhere"]
    try await withDirectory(broken) { directory in
      let database = try await makeDatabase(poolSize: 1)
      let migrator = Migrator(directory: directory)
      await #expect(
        throws: MigrationError.failed(
          file: "0002_b.sql", sqlState: SQLState(rawValue: "42703"), problem: #"column "nowhere" does not exist"#)
      ) {
        try await migrator.apply(to: database, logger: quiet)
      }
      #expect(try await database.one("SELECT to_regclass('a') IS NOT NULL, to_regclass('b') IS NULL")?.get(0) == true)
      try write(["0002_b.sql": "CREATE TABLE b (n int); COMMIT; BEGIN"], directory)
      await #expect(throws: MigrationError.endsTransaction(file: "0002_b.sql")) {
        try await migrator.apply(to: database, logger: quiet)
      }
      await database.shutdown()
    }
  }

  @Test("files that are not named like migrations, twins and a missing directory are refused")
  func names() async throws {
    try await withDirectory(["1_a.sql": ""]) { directory in
      #expect(throws: MigrationError.badName("1_a.sql")) { try MigrationFile.read(directory: directory) }
    }
    try await withDirectory(["0001_a.sql": "", "0001_b.sql": ""]) { directory in
      #expect(throws: MigrationError.duplicate(number: 1, files: ["0001_a.sql", "0001_b.sql"])) {
        try MigrationFile.read(directory: directory)
      }
    }
    #expect(throws: MigrationError.unreadable(path: "/nowhere")) { try MigrationFile.read(directory: "/nowhere") }
  }
}
