import AloftModel
import Foundation
import Logging
import Postgres

/// Tells when nodes fall silent and come back. Every replica runs it; the rows' locks make each transition happen once.
///
/// Invariants:
/// - Nobody is judged by a lease that could not be renewed: not after the database forgot it, nor after no replica was there.
/// - Each node's transition is a transaction of its own, with the events about its VMs; a node that somebody else holds is
///   left for the next look.
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
    let mayJudge = try await database.transaction { session in try Self.begin(seconds: seconds, in: session) }
    guard mayJudge else { return }
    let due = try await database.query(
      """
      SELECT n.id FROM nodes n JOIN node_leases l ON l.node_id = n.id
       WHERE \(fragment: Self.isWrong) ORDER BY n.id
      """
    ).map { try $0.get(0, as: NodeID.self) }
    var changes = 0
    // What has been committed is told, whatever becomes of the rest.
    defer { if changes > 0 { wakeups.signal([.events, .work]) } }
    for node in due {
      try Task.checkCancellation()
      let isTurned = try await database.transaction { session in try Self.turn(node, in: session) }
      if isTurned { changes += 1 }
    }
  }

  /// How long nobody may have looked for the leases to count. Agents report every quarter of a lease, so behind half of it
  /// there is still a quarter left.
  static func longestGap(lease seconds: Double) -> Double { max(2 * Double(tick.components.seconds), seconds / 2) }

  /// Gives whole new leases where there is none, and to all that are up if nobody looked for long: false then.
  private static func begin(seconds: Double, in session: Session) throws -> Bool {
    // The lock waits for another replica's look, whose leases the next statement sees.
    let looks = try session.pipeline([
      "SELECT extract(epoch FROM aloft_now() - looked_at)::float8 FROM node_watch FOR UPDATE",
      "UPDATE node_watch SET looked_at = aloft_now()",
    ])
    let isGap = try looks[0].first.map { try $0.get(0, as: Double.self) > longestGap(lease: seconds) } ?? true
    // No lease: the database crashed and forgot it. In the order of ids, like the renewals.
    _ = try session.execute(
      """
      INSERT INTO node_leases (node_id, renewed_at, expires_at)
      SELECT n.id, aloft_now(), aloft_now() + make_interval(secs => \(seconds)) FROM nodes n
       WHERE (\(isGap)::boolean AND n.down_since IS NULL)
          OR NOT EXISTS (SELECT 1 FROM node_leases l WHERE l.node_id = n.id)
       ORDER BY n.id
      ON CONFLICT (node_id) DO UPDATE SET expires_at = greatest(node_leases.expires_at, excluded.expires_at)
      """)
    return !isGap
  }

  /// A node `n` counts as down and its lease `l` runs, or the other way round.
  private static let isWrong: SQL = "(n.down_since IS NULL) = (l.expires_at < aloft_now())"

  /// Writes that a node has fallen silent or come back, if it is still so. The node is locked before the work rows, like
  /// everywhere, and only VMs with open operations have something to look at.
  private static func turn(_ id: NodeID, in session: Session) throws -> Bool {
    guard
      let row = try session.one(
        """
        SELECT n.name, n.down_since IS NULL FROM nodes n JOIN node_leases l ON l.node_id = n.id
         WHERE n.id = \(id) AND \(fragment: isWrong) FOR UPDATE OF n SKIP LOCKED
        """)
    else { return false }
    let isDown: Bool = try row.get(1)
    var statements: [SQL] = [
      "UPDATE nodes SET down_since = CASE WHEN \(isDown)::boolean THEN aloft_now() END WHERE id = \(id)",
      EventStore.appending(
        isDown ? .nodeDown : .nodeUp, project: nil, resource: id.uuid, data: ["name": try row.get(0)]),
      WorkQueue.wakingBusyVMs(on: id),
    ]
    for vm in try VMStore.placed(on: id, in: session) {
      var (before, after) = (vm.facts, vm.facts)
      before.host?.alive = isDown
      after.host?.alive = !isDown
      if let told = VMStore.tellingStateChange(of: vm, from: before, to: after) { statements.append(told) }
    }
    _ = try session.pipeline(statements)
    return true
  }

  /// Runs until cancelled. It looks at once: leases that nobody could renew shall not count any longer than they must.
  func run() async {
    while !Task.isCancelled {
      do {
        try await step()
      } catch is CancellationError {
        return
      } catch {
        logger.warning("leases could not be looked at", metadata: ["error": "\(error)"])
      }
      try? await environment.sleep(Self.tick)
    }
  }
}
