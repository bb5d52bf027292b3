import AloftModel
import Foundation
import Postgres

/// Seals anew with the newest key what lies in the database under an older one, so that the older one can go.
public enum Resealing {
  private static let batch = 200

  /// How many values were sealed anew, and how many cannot be opened with any of the keys.
  public struct Outcome: Sendable, Equatable {
    public var resealed = 0
    public var unreadable = 0
  }

  /// Goes through all keys of encrypted volumes, some in a transaction. Harmless to repeat, and while replicas run.
  public static func volumes(with key: SealingKey, in database: Database) async throws -> Outcome {
    try await volumeKeys(of: "volumes", with: key, in: database) { VolumeID($0).description }
  }

  /// The same of those that backups have.
  public static func backups(with key: SealingKey, in database: Database) async throws -> Outcome {
    try await volumeKeys(of: "backups", with: key, in: database) { BackupID($0).description }
  }

  private static func volumeKeys(
    of table: SQL, with key: SealingKey, in database: Database, _ subject: @escaping @Sendable (UUID) -> String
  ) async throws -> Outcome {
    var outcome = Outcome()
    var last: UUID?
    while true {
      let after = last
      let (end, part) = try await database.transaction { session -> (UUID?, Outcome) in
        let rows = try session.query(
          """
          SELECT id, sealed_key FROM \(fragment: table)
           WHERE sealed_key IS NOT NULL AND (\(after)::uuid IS NULL OR id > \(after))
           ORDER BY id LIMIT \(batch) FOR NO KEY UPDATE
          """)
        var part = Outcome()
        for row in rows {
          let id: UUID = try row.get(0)
          let sealed: [UInt8] = try row.get(1)
          if key.isCurrent(sealed) { continue }
          guard let secret = try? key.open(sealed, for: .volumeKey, of: subject(id)) else {
            part.unreadable += 1
            continue
          }
          let fresh = try key.seal(secret, for: .volumeKey, of: subject(id))
          try session.execute("UPDATE \(fragment: table) SET sealed_key = \(fresh) WHERE id = \(id)")
          part.resealed += 1
        }
        return (try rows.last?.get(0), part)
      }
      outcome.resealed += part.resealed
      outcome.unreadable += part.unreadable
      guard let end else { return outcome }
      last = end
    }
  }

  /// Goes through all webhooks, some in a transaction. Harmless to repeat, and while replicas run.
  public static func webhooks(with key: SealingKey, in database: Database) async throws -> Outcome {
    var outcome = Outcome()
    var last: UUID?
    while true {
      let after = last
      let (end, part) = try await database.transaction { session -> (UUID?, Outcome) in
        let rows = try session.query(
          """
          SELECT id, secret, previous_secret FROM webhooks WHERE \(after)::uuid IS NULL OR id > \(after) ORDER BY id
           LIMIT \(batch) FOR NO KEY UPDATE
          """)
        var part = Outcome()
        for row in rows {
          let id: WebhookID = try row.get(0)
          for (sealed, column) in [
            (try row.get(1, as: [UInt8]?.self), false), (try row.get(2, as: [UInt8]?.self), true),
          ] {
            guard let sealed, !key.isCurrent(sealed) else { continue }
            guard let secret = try? key.open(sealed, of: id) else {
              part.unreadable += 1
              continue
            }
            let fresh = try key.seal(secret, of: id)
            let assignment: SQL = column ? "previous_secret = \(fresh)" : "secret = \(fresh)"
            try session.execute("UPDATE webhooks SET \(fragment: assignment) WHERE id = \(id)")
            part.resealed += 1
          }
        }
        return (try rows.last?.get(0), part)
      }
      outcome.resealed += part.resealed
      outcome.unreadable += part.unreadable
      guard let end else { return outcome }
      last = end
    }
  }
}
