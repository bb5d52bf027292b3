import AloftModel
import Foundation
import Postgres

/// Brings a VM's rows to rest: ends its operations, follows a guest that turned itself off, removes what was deleted.
struct VMReconciler: Reconciler {
  func reconcile(_ id: UUID, in session: Session, effects: inout Effects) throws -> Date? {
    let questions: [SQL] = [OperationStore.opened(resource: id), "SELECT aloft_now()"]
    guard let (vm, answers) = try VMStore.lock(VMID(id), and: questions, in: session),
      let now = try answers[1].first?.get(0, as: Date.self)
    else { return nil }
    let open = try OperationStore.open(answers[0])
    let decision = VMDecision.of(vm.facts, open: open, now: now)
    if !decision.detachVolumes.isEmpty { try VolumeStore.hold(decision.detachVolumes, and: vm.nodeID, in: session) }

    _ = try session.pipeline(
      OperationStore.settling(open, decision.operations, project: vm.projectID, effects: &effects))
    try withdraw(decision.withdrawn(of: open), of: vm, in: session, effects: &effects)
    if decision.followGuestPowerOff {
      let intended = try VMStore.intend(VMID(id), power: .stopped, in: session)
      try EventStore.append(
        .vmUpdated, project: vm.projectID, resource: id, data: ["desired_power": "stopped", "by": "guest"], in: session)
      if let node = intended.node { effects.wake.insert(.node(node.uuid)) }
      effects.wake.insert(.events)
    }
    if !decision.removeNICs.isEmpty {
      try NICStore.remove(decision.removeNICs, in: session)
      effects.wake.insert(.networks)
    }
    if !decision.detachVolumes.isEmpty {
      try VolumeStore.detach(decision.detachVolumes, in: session)
      if let node = vm.nodeID { effects.wake.insert(.node(node.uuid)) }
    }
    if decision.purge {
      effects.wake.insert(.networks)
      try VMStore.purge(id, in: session)
      // Whoever empties the project waits for this.
      try session.execute(WorkQueue.hastening(.project, vm.projectID.uuid))
      effects.wake.insert(.work)
      try EventStore.append(.vmDeleted, project: vm.projectID, resource: id, data: ["name": vm.name], in: session)
      effects.wake.insert(.events)
      return nil
    }
    return decision.nextLook
  }

  /// What was reported as failed must not happen later.
  private func withdraw(
    _ requests: [UUID], of vm: VMRecord, in session: Session, effects: inout Effects
  ) throws {
    if requests.isEmpty { return }
    let withdrawn = try VMStore.withdraw(requests, vm: vm.id, in: session)
    if let node = withdrawn.node { effects.wake.insert(.node(node.uuid)) }
    var after = vm.facts
    after.pendingRequests.subtract(withdrawn.gone)
    if let told = VMStore.tellingStateChange(of: vm, from: vm.facts, to: after) {
      _ = try session.execute(told)
      effects.wake.insert(.events)
    }
  }
}
