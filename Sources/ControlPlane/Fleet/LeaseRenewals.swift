import Execution
import Foundation
import Logging
import Postgres

/// Renews the leases of all agents that reported since the last tick, in one statement.
///
/// A lease says until when a node counts as alive, by the database's clock alone.
final class LeaseRenewals: Sendable {
  static let tick = Duration.seconds(1)

  private let reported = Lock<Set<UUID>>([])
  private let database: Database
  private let environment: Environment
  private let seconds: Int
  private let logger: Logger

  init(database: Database, environment: Environment, seconds: Int, logger: Logger) {
    self.database = database
    self.environment = environment
    self.seconds = seconds
    self.logger = logger
  }

  /// Remembers that the node's agent reported.
  func renew(_ node: UUID) { reported.withLock { _ = $0.insert(node) } }

  /// Writes what was remembered. A failed write is tried again with the next tick.
  func step() async throws {
    let nodes = reported.withLock { nodes in
      defer { nodes = [] }
      return nodes
    }
    if nodes.isEmpty { return }
    do {
      try await database.transaction { session in try Self.renew(Array(nodes), seconds: self.seconds, in: session) }
    } catch {
      reported.withLock { $0.formUnion(nodes) }
      throw error
    }
  }

  /// Runs until cancelled.
  func run() async {
    await environment.repeating(every: Self.tick, orWarn: "leases could not be renewed", logger) { try await step() }
  }

  /// Extends the leases of nodes that still exist. In the order of ids, so that two replicas cannot lock each other out.
  static func renew(_ nodes: [UUID], seconds: Int, in session: Session) throws {
    _ = try session.execute(
      """
      INSERT INTO node_leases (node_id, renewed_at, expires_at)
      SELECT id, aloft_now(), aloft_now() + make_interval(secs => \(Double(seconds)))
        FROM nodes WHERE id = ANY(\(nodes)) ORDER BY id
      ON CONFLICT (node_id) DO UPDATE SET renewed_at = excluded.renewed_at, expires_at = excluded.expires_at
      """)
  }
}
