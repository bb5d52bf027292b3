import Postgres
import TestSupport

@testable import ControlPlane

extension TestPlane {
  /// The oldest events, as many as there are to be, as a reader of all gets them: once no transaction runs that is older
  /// than they are.
  func firstEvents(_ count: Int) async throws -> [EventStore.Record] {
    try await found("\(count) events can be seen") {
      let records = try await database.run { session in
        try EventStore.after(.oldest, .everything, limit: count + 1, in: session).records
      }
      return records.count < count ? nil : records
    }
  }
}
