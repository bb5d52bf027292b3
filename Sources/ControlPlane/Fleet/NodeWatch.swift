import AloftModel
import Foundation
import Logging
import Postgres

/// Tells when nodes fall silent and come back. Every replica runs it; the rows' locks make each transition happen once.
struct NodeWatch: Sendable {
  static let tick = Duration.seconds(2)

  let database: Database
  let wakeups: Wakeups
  let environment: Environment
  let settings: Settings
  let logger: Logger

  /// Looks at all leases once.
  func step() async throws {
    let seconds = Double(settings.leaseSeconds)
    let changes = try await database.transaction { session -> Int in
      // No lease: the database crashed and forgot it. The node gets a whole new one, as nobody may die of what we forgot.
      _ = try session.execute(
        """
        INSERT INTO node_leases (node_id, renewed_at, expires_at)
        SELECT id, aloft_now(), aloft_now() + make_interval(secs => \(seconds)) FROM nodes n
         WHERE NOT EXISTS (SELECT 1 FROM node_leases l WHERE l.node_id = n.id)
        ON CONFLICT DO NOTHING
        """)
      let down = try session.query(
        """
        UPDATE nodes n SET down_since = aloft_now()
          FROM node_leases l
         WHERE l.node_id = n.id AND l.expires_at < aloft_now() AND n.down_since IS NULL
        RETURNING n.id, n.name
        """)
      let up = try session.query(
        """
        UPDATE nodes n SET down_since = NULL
          FROM node_leases l
         WHERE l.node_id = n.id AND l.expires_at >= aloft_now() AND n.down_since IS NOT NULL
        RETURNING n.id, n.name
        """)
      for (kind, rows) in [(EventKind.nodeDown, down), (.nodeUp, up)] {
        for row in rows {
          let node: NodeID = try row.get(0)
          try EventStore.append(kind, project: nil, resource: node.uuid, data: ["name": try row.get(1)], in: session)
          var statements: [SQL] = []
          for vm in try VMStore.placed(on: node, in: session) {
            // What its operations wait for has changed.
            statements.append(WorkQueue.waking(.vm, vm.id.uuid))
            var before = vm.facts
            before.host?.alive = kind == .nodeDown
            var after = vm.facts
            after.host?.alive = kind == .nodeUp
            if let told = VMStore.tellingStateChange(of: vm, from: before, to: after) { statements.append(told) }
          }
          _ = try session.pipeline(statements)
        }
      }
      return down.count + up.count
    }
    if changes > 0 { wakeups.signal([.events, .work]) }
  }

  /// Runs until cancelled.
  func run() async {
    while !Task.isCancelled {
      do {
        try await environment.sleep(Self.tick)
        try await step()
      } catch is CancellationError {
        return
      } catch {
        logger.warning("leases could not be looked at", metadata: ["error": "\(error)"])
      }
    }
  }
}
