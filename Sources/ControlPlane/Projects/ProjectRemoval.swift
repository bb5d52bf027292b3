import AloftModel
import Foundation
import Postgres

/// Empties a project that is deleted with all that it holds, and removes it.
///
/// Invariants:
/// - Each VM and each volume goes by an operation of its own, as if somebody had deleted it; images go when nothing made from them
///   is left.
/// - While the operation is open nothing comes into the project (`migrations/0055_project_deletion.sql`). If it gives up at its
///   deadline, the project is as others are again, with what is left in it.
struct ProjectReconciler: Reconciler {
  /// VMs that are deleted in one transaction.
  private static let batch = 50
  /// Seconds between two looks whether others still need its images.
  private static let lookAgain = 10.0
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
    if try deleteVolumes(of: removal, in: session, &effects) { return now }
    if try deleteBackup(of: removal.project, in: session, &effects) { return now }
    guard let project = try ProjectStore.lock(removal.project, to: .change, in: session) else { return nil }
    let left = try session.one(
      """
      SELECT (SELECT count(*) FROM vms WHERE project_id = \(project.id)),
             (SELECT count(*) FROM volumes WHERE project_id = \(project.id)),
             (SELECT count(*) FROM snapshots WHERE project_id = \(project.id)),
             (SELECT count(*) FROM backups WHERE project_id = \(project.id)),
             (SELECT count(*) FROM volumes v JOIN images i ON i.id = v.image_id
               WHERE i.project_id = \(project.id) AND v.project_id <> \(project.id))
      """)
    let counts = try left.map { row in
      [
        (try row.get(0, as: Int.self), "VM", "s to be removed by their nodes"),
        (try row.get(1), "volume", "s to be removed by their nodes"),
        (try row.get(2), "snapshot", "s to be removed by their nodes"),
        (try row.get(3), "backup", "s to be cleared away"),
        (try row.get(4), "volume", "s that other projects have made from its images"),
      ]
    }
    if let what = counts?.first(where: { $0.0 > 0 }) {
      let rest = what.0 == 1 ? String(what.2.dropFirst()) : what.2
      let outcome = OperationOutcome.running(waitingFor: "\(what.0) \(what.1)\(rest)", progress: nil)
      try session.execute(OperationStore.applying(outcome, to: removal.operation.uuid))
      effects.wake.insert(.operation(removal.operation.uuid))
      // Nobody tells when others delete theirs.
      let waitsForOthers = counts?.dropLast().allSatisfy { $0.0 == 0 } ?? false
      return waitsForOthers ? min(removal.deadline, now.addingTimeInterval(Self.lookAgain)) : removal.deadline
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
    // All of them before their node.
    try session.execute("SELECT 1 FROM volumes WHERE vm_id = ANY(\(ids.map(\.uuid))) ORDER BY id FOR UPDATE")
    for id in ids {
      let intended = try VMStore.delete(id, in: session)
      try OperationStore.accept(
        OperationID(environment.newUUID()), .deleteVM, project: removal.project, vm: id,
        generation: intended.generation, seconds: VMHandlers.deletionSeconds, author: removal.author, in: session)
      if let node = intended.node { effects.wake.insert(.node(node.uuid)) }
    }
    effects.wake.formUnion([.work, .events])
    return !ids.isEmpty
  }

  /// The same for volumes that no VM has.
  private func deleteVolumes(of removal: Removal, in session: Session, _ effects: inout Effects) throws -> Bool {
    let candidates: SQL = """
      FROM volumes r WHERE r.project_id = \(removal.project) AND r.deleted_at IS NULL AND r.vm_id IS NULL
      """
    // The snapshots go with their volumes.
    let ids = try session.query(
      """
      SELECT r.id \(fragment: candidates)
         AND r.node_id IS NOT DISTINCT FROM (SELECT r.node_id \(fragment: candidates) ORDER BY r.id LIMIT 1)
       ORDER BY r.id LIMIT \(Self.batch) FOR UPDATE
      """
    ).map { try $0.get(0, as: VolumeID.self) }
    for id in ids {
      let node = try VolumeHandlers.acceptDeletion(
        id, project: removal.project, OperationID(environment.newUUID()), author: removal.author, in: session)
      if let node { effects.wake.insert(.node(node.uuid)) }
    }
    effects.wake.formUnion([.work, .events])
    return !ids.isEmpty
  }

  /// The next one of those that nothing is restored from: each changes its volume. False: none was left.
  private func deleteBackup(of project: ProjectID, in session: Session, _ effects: inout Effects) throws -> Bool {
    let row = try session.one(
      """
      SELECT id, volume_id FROM backups b
       WHERE project_id = \(project) AND deleted_at IS NULL
         AND NOT EXISTS (SELECT 1 FROM volumes WHERE source_backup_id = b.id OR base_backup_id = b.id)
       ORDER BY id LIMIT 1
      """)
    guard let row else { return false }
    try VolumeStore.hold([try row.get(1)], and: nil, in: session)
    guard let backup = try ResourceStore<BackupRecord>.lock(try row.get(0), to: .delete, in: session) else {
      return true
    }
    try BackupStore.delete(backup, in: session, &effects)
    return true
  }

  private func deleteImages(of project: ProjectID, in session: Session, _ effects: inout Effects) throws {
    for row in try session.query(
      """
      SELECT i.id FROM images i
       WHERE i.project_id = \(project) AND (EXISTS (SELECT 1 FROM image_fetches f WHERE f.image_id = i.id)
                                            OR EXISTS (SELECT 1 FROM image_captures c WHERE c.image_id = i.id))
      """)
    {
      if let image = try ImageStore.find(try row.get(0, as: ImageID.self), in: session) {
        try ImageFetchStore.cancel(image, in: session, &effects)
        try ImageCaptureStore.cancel(image, in: session, &effects)
      }
    }
    for row in try session.query(
      "SELECT u.content FROM image_uploads u JOIN images i ON i.id = u.image_id WHERE i.project_id = \(project)")
    {
      effects.removedUploads.append(try row.get(0))
    }
    for row in try session.query("DELETE FROM images WHERE project_id = \(project) RETURNING id, name, upload") {
      try EventStore.append(
        .imageDeleted, project: project, resource: try row.get(0), data: ["name": try row.get(1)], in: session)
      if let upload = try row.get(2, as: UUID?.self) { effects.removedUploads.append(upload) }
    }
  }

  private func end(
    _ removal: Removal, _ outcome: OperationOutcome, in session: Session, _ effects: inout Effects
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
