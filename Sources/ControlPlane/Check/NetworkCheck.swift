import Logging
import Northbound
import Postgres

/// Compares OVN's northbound database with ours.
struct NetworkCheck: Sendable {
  let database: Database
  let logger: Logger

  /// What differs; nothing is looked at where no northbound database is set. Changes that are not carried over yet differ, too:
  /// whoever checks waits until there are none.
  func findings(_ settings: NetworkingSettings) async throws -> [ConsistencyCheck.Finding] {
    if settings.northbound.isEmpty { return [] }
    let client = try settings.northboundClient(logger: logger)
    defer { client.close() }
    let model = try await database.transaction(.snapshot) { session in
      NetworkModel(try NetworkObjects.all(in: session))
    }
    return try await NorthboundWriter(client: client, logger: logger).discrepancies(from: model).map {
      ConsistencyCheck.Finding(rule: "OVN's northbound database is what the networks say", detail: "\($0)")
    }
  }
}
