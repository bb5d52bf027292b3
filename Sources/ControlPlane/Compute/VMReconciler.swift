import AloftModel
import Foundation
import Postgres

/// Brings a VM's rows to rest: ends its operations, follows a guest that turned itself off, removes what was deleted.
struct VMReconciler: Reconciler {
  func reconcile(_ id: UUID, now: Date, in session: Session, effects: inout Effects) throws -> Date? {
    guard let vm = try VMStore.lock(VMID(id), in: session) else { return nil }
    let open = try OperationStore.open(resource: id, in: session)
    let decision = VMDecision.of(vm.facts, open: open, now: now)

    for operation in open {
      guard let outcome = decision.operations[operation.id] else { continue }
      try OperationStore.apply(outcome, to: operation.id, in: session)
      effects.wake.insert(.operation(operation.id))
      if let ending = ending(of: outcome) {
        try EventStore.append(
          .operationEnded, project: vm.projectID, resource: operation.id,
          data: ["kind": operation.kind.rawValue, "status": ending.rawValue], in: session)
        effects.wake.insert(.events)
      }
    }
    if decision.followGuestPowerOff {
      let intended = try VMStore.intend(VMID(id), power: .stopped, in: session)
      try EventStore.append(
        .vmUpdated, project: vm.projectID, resource: id, data: ["desired_power": "stopped", "by": "guest"], in: session)
      if let node = intended.node { effects.wake.insert(.node(node.uuid)) }
      effects.wake.insert(.events)
    }
    if decision.purge {
      try VMStore.purge(id, in: session)
      try EventStore.append(.vmDeleted, project: vm.projectID, resource: id, data: ["name": vm.name], in: session)
      effects.wake.insert(.events)
      return nil
    }
    return decision.nextLook
  }

  private func ending(of outcome: VMDecision.Outcome) -> OperationStatus? {
    switch outcome {
    case .succeeded: .succeeded
    case .failed: .failed
    case .running: nil
    }
  }
}
