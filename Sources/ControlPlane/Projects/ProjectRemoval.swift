import AloftModel
import Foundation
import Postgres

/// Empties a project that is deleted with all that it holds, and removes it.
///
/// Invariants:
/// - Each VM goes by an operation of its own, as if somebody had deleted it; images go when no VM boots from them any more.
/// - While the operation is open nothing comes into the project (`migrations/0055_project_deletion.sql`). If it gives up at its
///   deadline, the project is as others are again, with what is left in it.
struct ProjectReconciler: Reconciler {
  /// VMs that are deleted in one transaction.
  private static let batch = 50
  /// How long emptying a project may take.
  static let operationSeconds = 3600

  let environment: Environment

  func reconcile(_ id: UUID, in session: Session, effects: inout Effects) throws -> Date? {
    guard let removal = try Removal.find(ProjectID(id), in: session),
      let now = try session.one("SELECT aloft_now()")?.get(0, as: Date.self)
    else { return nil }
    if now >= removal.deadline {
      let left = try ProjectStore.contents(removal.project, in: session) ?? "nothing"
      try end(removal, .failed(.deadlineExceeded, "gave up; the project still holds \(left)"), in: session, &effects)
      return nil
    }
    if try deleteMachines(of: removal, in: session, &effects) { return now }
    guard let project = try ProjectStore.lock(removal.project, to: .change, in: session) else { return nil }
    let machines = try session.one("SELECT count(*) FROM vms WHERE project_id = \(project.id)")?.get(0, as: Int.self)
    if let machines, machines > 0 {
      let outcome = VMDecision.Outcome.running(
        waitingFor: "\(machines) VM\(machines == 1 ? "" : "s") to be removed by their nodes", progress: nil)
      try session.execute(OperationStore.applying(outcome, to: removal.operation.uuid))
      effects.wake.insert(.operation(removal.operation.uuid))
      return removal.deadline
    }
    try deleteImages(of: project.id, in: session, &effects)
    try ProjectNetworks.delete(of: project.id, in: session)
    effects.wake.insert(.networks)
    try end(removal, .succeeded, in: session, &effects)
    try ProjectStore.delete(project, in: session)
    try EventStore.append(
      .projectDeleted, project: nil, resource: project.id.uuid, data: ["name": project.name], in: session)
    return nil
  }

  /// Asks for the deletion of some VMs, all of one node: locks are taken on VMs first, then on nodes. False: none was left.
  private func deleteMachines(of removal: Removal, in session: Session, _ effects: inout Effects) throws -> Bool {
    let candidates: SQL = """
      FROM vms v LEFT JOIN claims c ON c.vm_id = v.id AND c.purpose = 'run'
       WHERE v.project_id = \(removal.project) AND v.deleted_at IS NULL
      """
    let ids = try session.query(
      """
      SELECT v.id \(fragment: candidates)
         AND c.node_id IS NOT DISTINCT FROM (SELECT c.node_id \(fragment: candidates) ORDER BY v.id LIMIT 1)
       ORDER BY v.id LIMIT \(Self.batch) FOR UPDATE OF v
      """
    ).map { try $0.get(0, as: VMID.self) }
    for id in ids {
      let intended = try VMStore.intend(id, deleted: true, in: session)
      try OperationStore.accept(
        OperationID(environment.newUUID()), .deleteVM, project: removal.project, vm: id,
        generation: intended.generation, seconds: VMHandlers.deletionSeconds, author: removal.author, in: session)
      if let node = intended.node { effects.wake.insert(.node(node.uuid)) }
    }
    effects.wake.formUnion([.work, .events])
    return !ids.isEmpty
  }

  private func deleteImages(of project: ProjectID, in session: Session, _ effects: inout Effects) throws {
    for row in try session.query("DELETE FROM images WHERE project_id = \(project) RETURNING id, name, upload") {
      try EventStore.append(
        .imageDeleted, project: project, resource: try row.get(0), data: ["name": try row.get(1)], in: session)
      if let upload = try row.get(2, as: UUID?.self) { effects.removedUploads.append(upload) }
    }
  }

  private func end(
    _ removal: Removal, _ outcome: VMDecision.Outcome, in session: Session, _ effects: inout Effects
  ) throws {
    try session.execute(OperationStore.applying(outcome, to: removal.operation.uuid))
    let status = if case .succeeded = outcome { OperationStatus.succeeded } else { OperationStatus.failed }
    try EventStore.append(
      .operationEnded, project: removal.project, resource: removal.operation.uuid,
      data: ["kind": OperationKind.deleteProject.rawValue, "status": status.rawValue], in: session)
    effects.wake.formUnion([.operation(removal.operation.uuid), .events])
  }
}

/// The open operation that empties a project.
private struct Removal {
  var project: ProjectID
  var operation: OperationID
  var deadline: Date
  var author: OperationStore.Author

  static func find(_ project: ProjectID, in session: Session) throws -> Removal? {
    try session.one(
      """
      SELECT id, deadline, actor, request_id FROM operations
       WHERE resource_id = \(project) AND kind = \(OperationKind.deleteProject) AND finished_at IS NULL
      """
    ).map { row in
      Removal(
        project: project, operation: try row.get(0), deadline: try row.get(1),
        author: .init(actor: try row.get(2), requestID: try row.get(3)))
    }
  }
}
