import Logging
import Postgres
import PostgresTestSupport

extension TestPlane {
  /// Runs `body` with a migrated database on a PostgreSQL server that no other test uses.
  static func withOwnServer(_ body: (Database) async throws -> Void) async throws {
    let logger = quiet
    let server = try await PostgresServer.start()
    let database = try Database(
      configuration: DatabaseConfiguration(url: try await server.createDatabase(), poolTimeout: .seconds(60)),
      logger: logger)
    let outcome: Result<Void, any Error>
    do {
      _ = try await Migrator(directory: Repository.root + "/migrations").apply(to: database, logger: logger)
      try await body(database)
      outcome = .success(())
    } catch {
      outcome = .failure(error)
    }
    await database.shutdown()
    await server.stop()
    try outcome.get()
  }
}
