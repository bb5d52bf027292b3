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
  /// Who did it, where the call does not say; nil: its caller.
  var actor: Principal?
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
      var call = call
      if let actor = changed.actor { call.principal = actor }
      try AuditTrail.accepted(call, project: changed.project, resource: changed.resource, in: session)
      if let key { try IdempotencyKeys.store(changed.reply, key: key, call: call, in: session) }
      return changed
    }
    wakeups.signal(changed.effects.wake)
    return changed.reply
  }

  /// Runs a change that is one statement: its key, its audit record and the change itself travel together. With a key a second
  /// statement keeps the answer and commits: two round trips, else one. Nil, and nothing written, when the statement gave no row.
  /// What must be locked before the statement's rows, `first` locks; what does not fit into the statement, `rest` writes behind it, and
  /// gives the row as it is then.
  func changeAtOnce(
    _ call: Call, _ statement: @escaping @Sendable (AcceptedParts) -> SQL,
    first: (@Sendable (Session) throws -> Void)? = nil, rest: (@Sendable (Session) throws -> Row?)? = nil,
    reading: @escaping @Sendable (Row) throws -> Changed
  ) async throws -> Reply? {
    struct NothingChanged: Error {}
    let key = call.string("Idempotency-Key")
    let sql = statement(AcceptedParts(call: call))
    do {
      let changed = try await database.transaction(TransactionOptions(discard: call.isDryRun)) { session -> Changed in
        try first?(session)
        let isAll = key == nil && rest == nil
        guard var row = isAll ? try session.commit(with: sql).first : try session.query(sql).first else {
          // Either the key is somebody's, whom the statement has waited for, or there was nothing to change.
          if let key, let stored = try IdempotencyKeys.find(key, call: call, in: session) {
            return Changed(reply: stored)
          }
          throw NothingChanged()
        }
        if let rest, let after = try rest(session) { row = after }
        let changed = try reading(row)
        if let key { try session.commit(with: IdempotencyKeys.storing(changed.reply, key: key, call: call)) }
        return changed
      }
      if !call.isDryRun { wakeups.signal(changed.effects.wake) }
      return changed.reply
    } catch is NothingChanged {
      return nil
    }
  }

  /// The answer of an earlier call with the same `Idempotency-Key`, if there is one.
  func storedAnswer(_ call: Call) async throws -> Reply? {
    guard let key = call.string("Idempotency-Key") else { return nil }
    return try await database.run { session in try IdempotencyKeys.find(key, call: call, in: session) }
  }
}

/// What a statement carries that is an accepted change by itself, as parts of its WITH clause.
struct AcceptedParts: Sendable {
  let call: Call

  /// The name of ``key``'s rows: one if the change may go on, none if the key is taken.
  static let keyName: SQL = "taken"

  /// Takes the call's idempotency key; waits for whoever is about to take it.
  var key: SQL {
    guard let key = call.string("Idempotency-Key") else { return "\(fragment: Self.keyName) AS (SELECT 1)" }
    return "\(fragment: Self.keyName) AS (\(fragment: IdempotencyKeys.claiming(key, call: call)) RETURNING 1)"
  }

  /// Writes the audit record; the three say where in the statement resource and project come from.
  func audit(resource: SQL, project: SQL, from source: SQL) -> SQL {
    """
    audited AS (
      INSERT INTO audit (\(fragment: AuditTrail.columns))
      SELECT \(fragment: AuditTrail.values(call, project: project, resource: resource)) FROM \(fragment: source))
    """
  }
}
