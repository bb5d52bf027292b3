import AloftModel
import Foundation
import Postgres

/// What kinds of resources have a reconciler.
enum WorkKind: String, Sendable, CaseIterable {
  case vm
  case volume
  case snapshot
  /// A project that is being emptied.
  case project
  /// A node whose agent has to read again what its VMs' networks are.
  case announcement
  /// An image whose content is to be fetched, or to be finished: for ``ImageWorker``, not for ``Worker``.
  case image
  /// A backup that is being made, verified or cleared away: for ``ImageWorker`` too.
  case backup
  /// A volume that is backed up by itself.
  case backupSchedule = "backup_schedule"
  /// There is something to send to a webhook: for ``WebhookSender``, not for ``Worker``.
  case webhook
}

/// A row of the queue that this replica holds for a while.
struct WorkItem: Sendable, Equatable {
  var kind: WorkKind
  var id: UUID
  /// The row's count of wake-ups when it was taken.
  var wakes: Int
  var attempts: Int
}

/// The durable queue: at most one row for each resource that somebody must look at, and when.
///
/// Invariants:
/// - A row is removed or put off only if nobody woke it since it was taken: a wake-up that arrives during a run is not lost.
/// - A row whose worker died comes back when its lease ends.
/// - A failed run keeps its row, with the error and a growing pause.
enum WorkQueue {
  /// How long a worker may take for one row.
  static let leaseSeconds = 30.0

  /// Asks for a look at a resource now. Part of the caller's transaction.
  static func wake(_ kind: WorkKind, _ id: UUID, in session: Session) throws {
    _ = try session.execute(waking(kind, id))
  }

  /// The statement of ``wake(_:_:in:)``, to travel with others.
  static func waking(_ kind: WorkKind, _ id: UUID) -> SQL {
    """
    INSERT INTO work (kind, id, due_at) VALUES (\(kind.rawValue), \(id), aloft_now())
    ON CONFLICT (kind, id) DO UPDATE SET due_at = least(work.due_at, excluded.due_at), wakes = work.wakes + 1
    """
  }

  /// Asks for a look in some seconds, if nobody is to look sooner.
  static func waking(_ kind: WorkKind, _ id: UUID, in seconds: Int) -> SQL {
    """
    INSERT INTO work (kind, id, due_at)
    VALUES (\(kind.rawValue), \(id), aloft_now() + make_interval(secs => \(Double(seconds))))
    ON CONFLICT (kind, id) DO UPDATE SET due_at = least(work.due_at, excluded.due_at), wakes = work.wakes + 1
    """
  }

  /// The statement that asks for a look now, if somebody is to look at the resource at all.
  static func hastening(_ kind: WorkKind, _ id: UUID) -> SQL {
    """
    UPDATE work SET due_at = least(due_at, aloft_now()), wakes = wakes + 1 WHERE kind = \(kind.rawValue) AND id = \(id)
    """
  }

  /// The statement that wakes all VMs of a node that have open operations: what those wait for has changed.
  static func wakingBusyVMs(on node: NodeID) -> SQL {
    """
    INSERT INTO work (kind, id, due_at)
    SELECT \(WorkKind.vm.rawValue), c.vm_id, aloft_now() FROM claims c
     WHERE c.node_id = \(node) AND c.purpose = 'run'
       AND EXISTS (SELECT 1 FROM operations o WHERE o.resource_id = c.vm_id AND o.finished_at IS NULL)
     ORDER BY c.vm_id
    ON CONFLICT (kind, id) DO UPDATE SET due_at = least(work.due_at, excluded.due_at), wakes = work.wakes + 1
    """
  }

  /// Takes up to `limit` due rows of these kinds for this worker. Kinds that only a newer version knows are left to it.
  static func take(_ kinds: [WorkKind], limit: Int, in session: Session) throws -> [WorkItem] {
    try session.query(
      """
      UPDATE work SET lease_until = aloft_now() + make_interval(secs => \(leaseSeconds)), attempts = attempts + 1
       WHERE (kind, id) IN (
         SELECT kind, id FROM work
          WHERE kind = ANY(\(kinds.map(\.rawValue))) AND due_at <= aloft_now() AND (lease_until IS NULL OR lease_until < aloft_now())
          ORDER BY due_at LIMIT \(limit) FOR UPDATE SKIP LOCKED)
      RETURNING kind, id, wakes, attempts
      """
    ).compactMap { row in
      guard let kind = WorkKind(rawValue: try row.get(0)) else { return nil }
      return WorkItem(kind: kind, id: try row.get(1), wakes: try row.get(2), attempts: try row.get(3))
    }
  }

  /// Keeps rows for another ``leaseSeconds``, for what takes longer.
  static func renew(_ item: WorkItem, in session: Session) throws {
    try session.execute(
      """
      UPDATE work SET lease_until = aloft_now() + make_interval(secs => \(leaseSeconds))
       WHERE kind = \(item.kind.rawValue) AND id = \(item.id) AND lease_until IS NOT NULL
      """)
  }

  /// Ends a run: the row goes, or comes back at `next`. A resource that was woken meanwhile stays due.
  static func finish(_ item: WorkItem, next: Date?, in session: Session) throws {
    _ = try session.execute(finishing(item, next: next))
  }

  /// The statement of ``finish(_:next:in:)``, to travel with others.
  static func finishing(_ item: WorkItem, next: Date?) -> SQL {
    if let next {
      return """
        UPDATE work SET due_at = CASE WHEN wakes = \(item.wakes) THEN \(next) ELSE due_at END,
                        lease_until = NULL, attempts = 0, last_error = NULL
         WHERE kind = \(item.kind.rawValue) AND id = \(item.id)
        """
    }
    return """
      WITH removed AS (
        DELETE FROM work WHERE kind = \(item.kind.rawValue) AND id = \(item.id) AND wakes = \(item.wakes) RETURNING 1)
      UPDATE work SET lease_until = NULL, attempts = 0, last_error = NULL
       WHERE kind = \(item.kind.rawValue) AND id = \(item.id) AND NOT EXISTS (SELECT 1 FROM removed)
      """
  }

  /// Ends a run that is to be gone on with after `pause`, or at once if somebody woke it meanwhile.
  static func retry(_ item: WorkItem, in pause: Duration, in session: Session) throws {
    let seconds = Double(pause.components.seconds) + Double(pause.components.attoseconds) / 1e18
    _ = try session.execute(
      """
      UPDATE work SET due_at = CASE WHEN wakes = \(item.wakes) THEN aloft_now() + make_interval(secs => \(seconds)) ELSE due_at END,
                      lease_until = NULL, attempts = 0, last_error = NULL
       WHERE kind = \(item.kind.rawValue) AND id = \(item.id)
      """)
  }

  /// Ends a run that failed: the row comes back after `pause`.
  static func fail(_ item: WorkItem, error: String, pause: Duration, in session: Session) throws {
    let seconds = Double(pause.components.seconds) + Double(pause.components.attoseconds) / 1e18
    _ = try session.execute(
      """
      UPDATE work SET due_at = CASE WHEN wakes = \(item.wakes) THEN aloft_now() + make_interval(secs => \(seconds)) ELSE due_at END,
                      lease_until = NULL, last_error = \(error)
       WHERE kind = \(item.kind.rawValue) AND id = \(item.id)
      """)
  }

  /// Seconds until the next row of these kinds is due; nil when there is none. Rows that somebody works on do not count.
  static func secondsToNext(_ kinds: [WorkKind], in session: Session) throws -> Double? {
    try session.one(nextDue(kinds))?.get(0)
  }

  /// The statement of ``secondsToNext(_:in:)``: it reads the index from the front and stops at the first row.
  static func nextDue(_ kinds: [WorkKind]) -> SQL {
    """
    SELECT extract(epoch FROM due_at - aloft_now())::float8 FROM work
     WHERE kind = ANY(\(kinds.map(\.rawValue))) AND (lease_until IS NULL OR lease_until < aloft_now())
     ORDER BY due_at LIMIT 1
    """
  }
}
