import AloftModel
import Foundation
import Postgres

/// Brings a snapshot's rows to rest: ends its operations, takes back what was not taken in time, removes what was deleted.
struct SnapshotReconciler: Reconciler {
  func reconcile(_ id: UUID, in session: Session, effects: inout Effects) throws -> Date? {
    guard let snapshot = try SnapshotStore.lock(SnapshotID(id), in: session) else { return nil }
    let answers = try session.pipeline([OperationStore.opened(resource: id), "SELECT aloft_now()"])
    guard let now = try answers[1].first?.get(0, as: Date.self) else { return nil }
    let open = try OperationStore.open(answers[0])
    let decision = SnapshotDecision.of(snapshot.facts, open: open, now: now)
    if !decision.purge { try SnapshotMemory.settle(snapshot, in: session) }
    _ = try session.pipeline(
      OperationStore.settling(open, decision.operations, project: snapshot.project, effects: &effects))
    if decision.withdraw { effects.wake.formUnion(try SnapshotStore.delete(snapshot, in: session)) }
    // What is being made from it wakes this again.
    let isSource = try SnapshotStore.isSource(id, in: session)
    if snapshot.isHidden, !snapshot.isDeleted, !isSource {
      effects.wake.formUnion(try SnapshotStore.delete(snapshot, in: session))
    }
    guard decision.purge, !isSource else { return decision.nextLook }
    try session.execute("DELETE FROM snapshots WHERE id = \(id)")
    if !snapshot.isHidden {
      try EventStore.append(
        .snapshotDeleted, project: snapshot.project, resource: id, data: ["name": snapshot.name], in: session)
    }
    try session.execute(WorkQueue.hastening(.project, snapshot.project.uuid))
    effects.wake.formUnion([.work, .events])
    return nil
  }
}
