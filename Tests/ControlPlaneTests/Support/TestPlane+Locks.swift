import Foundation
import Postgres

extension TestPlane {
  /// Runs `body` while another transaction holds what `statement` locks. Takes one connection of the pool.
  func holding<Value: Sendable>(_ statement: SQL, while body: () async throws -> Value) async throws -> Value {
    let locked = AsyncStream<Void>.makeStream()
    let release = DispatchSemaphore(value: 0)
    let holder = Task {
      defer { locked.continuation.finish() }
      try await database.transaction { session in
        _ = try session.query(statement)
        locked.continuation.finish()
        // The transaction's own thread waits.
        release.wait()
      }
    }
    for await _ in locked.stream {}
    let outcome: Result<Value, any Error>
    do { outcome = .success(try await body()) } catch { outcome = .failure(error) }
    release.signal()
    try await holder.value
    return try outcome.get()
  }
}
