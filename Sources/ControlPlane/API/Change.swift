import AloftModel
import Crypto
import Foundation
import HTTPTypes
import JSON
import Postgres

/// What an accepted change leaves behind its commit.
struct Changed: Sendable {
  var reply: Reply
  var effects = Effects()
  /// What was changed, for the audit.
  var resource: UUID?
  var project: ProjectID?
}

/// Runs changes: one transaction for each, with its idempotency record and its audit record in it.
///
/// Invariants:
/// - A 2xx means that the change and everything that belongs to it are committed.
/// - A retry with the same `Idempotency-Key` gets the answer of the first try, and has no effect of its own; two tries at once
///   queue behind the key's row.
/// - A refused change leaves nothing, not even its key.
/// - A dry run commits nothing.
extension Plane {
  func change(_ call: Call, _ body: @escaping @Sendable (Session) throws -> Changed) async throws -> Reply {
    let key = call.string("Idempotency-Key")
    let options = TransactionOptions(discard: call.isDryRun)
    let changed = try await database.transaction(options) { session -> Changed in
      if let key, let stored = try IdempotencyKeys.claim(key, call: call, in: session) { return Changed(reply: stored) }
      var changed = try body(session)
      if call.isDryRun {
        changed.effects = Effects()
        return changed
      }
      try audit(call, changed, in: session)
      if let key { try IdempotencyKeys.store(changed.reply, key: key, call: call, in: session) }
      return changed
    }
    wakeups.signal(changed.effects.wake)
    return changed.reply
  }

  /// The answer of an earlier call with the same `Idempotency-Key`, if there is one.
  func storedAnswer(_ call: Call) async throws -> Reply? {
    guard let key = call.string("Idempotency-Key") else { return nil }
    return try await database.run { session in try IdempotencyKeys.find(key, call: call, in: session) }
  }

  private func audit(_ call: Call, _ changed: Changed, in session: Session) throws {
    _ = try session.execute(
      """
      INSERT INTO audit (actor, peer, request_id, operation, project_id, resource_id)
      VALUES (\(call.principal.name), \(call.request.peer.address), \(call.requestID), \(call.operationID),
              \(changed.project), \(changed.resource))
      """)
  }
}
