import AloftModel
import Foundation
import Postgres

/// Brings a volume's rows to rest: ends its operations, removes what was deleted.
struct VolumeReconciler: Reconciler {
  func reconcile(_ id: UUID, in session: Session, effects: inout Effects) throws -> Date? {
    let questions: [SQL] = [OperationStore.opened(resource: id), "SELECT aloft_now()"]
    guard let (volume, answers) = try VolumeStore.lock(VolumeID(id), and: questions, in: session),
      let now = try answers[1].first?.get(0, as: Date.self)
    else { return nil }
    let open = try OperationStore.open(answers[0])
    let decision = VolumeDecision.of(volume.facts, open: open, now: now)
    _ = try session.pipeline(
      OperationStore.settling(open, decision.operations, project: volume.project, effects: &effects))
    if let handOver = decision.handOver,
      let node = handOver.isAnywhere ? try StoragePlaces.anyNode(for: volume, in: session) : volume.nextNodeID
    {
      try VolumeStore.handOver(volume.id, to: node, fence: handOver.fence, in: session)
      effects.wake.formUnion([.node(node.uuid), .work])
    }
    if decision.giveUpRestoring {
      let changes: SQL =
        volume.facts.intent.isMadeOfBackup
        ? "deleted_at = aloft_now()," : "base_backup_id = NULL, base_snapshot_id = NULL, kept_epoch = epoch,"
      let intended = try VolumeStore.intend(volume.id, changes, in: session)
      if let node = intended.node { effects.wake.insert(.node(node.uuid)) }
      effects.wake.insert(.work)
    }
    if decision.handOver == nil, !decision.purge {
      try VolumeStore.settleMove(
        volume, decision.moveEnd, givingUp: decision.giveUpMove, in: session, effects: &effects)
    }
    guard decision.purge else { return decision.nextLook }
    try session.execute(SnapshotStore.wakingAll(losing: id))
    try session.execute("DELETE FROM volumes WHERE id = \(id)")
    try EventStore.append(
      .volumeDeleted, project: volume.project, resource: id, data: ["name": volume.name], in: session)
    // Whoever empties the project, or waits for the VM's last disk, waits for this.
    try session.execute(WorkQueue.hastening(.project, volume.project.uuid))
    if let vm = volume.vmID { try WorkQueue.wake(.vm, vm.uuid, in: session) }
    effects.wake.formUnion([.work, .events])
    return nil
  }
}
