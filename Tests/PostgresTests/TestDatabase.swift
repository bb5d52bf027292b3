import Logging
import Postgres
import PostgresTestSupport
import TestSupport

/// A fresh database on the shared server.
func makeDatabase(
  on server: PostgresServer? = nil, poolSize: Int = 4, _ adjust: (inout DatabaseConfiguration) -> Void = { _ in }
) async throws -> Database {
  let server = if let server { server } else { try await PostgresServer.shared }
  return try open(try await server.createDatabase(), poolSize: poolSize, adjust)
}

func open(
  _ url: String, poolSize: Int = 4, _ adjust: (inout DatabaseConfiguration) -> Void = { _ in }
) throws -> Database {
  var configuration = DatabaseConfiguration(url: url, poolSize: poolSize, poolTimeout: .seconds(30))
  adjust(&configuration)
  return try Database(configuration: configuration, logger: quiet)
}

let quiet = TestLogs.logger("postgres-client")

/// The kind of the error that `body` throws; nil if it throws none or another type.
func failureKind(_ body: () async throws -> some Any) async -> PostgresError.Kind? {
  await failure(body)?.kind
}

func failure(_ body: () async throws -> some Any) async -> PostgresError? {
  do {
    _ = try await body()
    return nil
  } catch {
    return error as? PostgresError
  }
}
