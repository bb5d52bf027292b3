import AloftModel
import Foundation
import Postgres

extension VolumeStore {
  /// The assignments of a volume that begins to go to another pool.
  static func moving(to pool: StoragePoolID) -> SQL {
    "moving_to = \(pool), move_failure = NULL, move_failure_detail = NULL,"
  }

  /// The assignments of a volume that has come there.
  static let moved: SQL = "pool_id = moving_to, moving_to = NULL, move_failure = NULL, move_failure_detail = NULL,"
  /// The assignments of a volume that stays where it is.
  static let stayed: SQL = "moving_to = NULL, move_failure = NULL, move_failure_detail = NULL,"

  /// The assignments of a volume whose move is given up.
  static func givingUpMove(_ problem: Observation.Problem) -> SQL {
    "move_failure = \(problem.code), move_failure_detail = \(problem.detail),"
  }

  /// Takes over how a move has ended, or that it is given up; the caller has locked the volume.
  static func settleMove(
    _ volume: VolumeRecord, _ end: VolumeMove.End?, givingUp problem: Observation.Problem?, in session: Session,
    effects: inout Effects
  ) throws {
    let changes: SQL
    switch (end, problem) {
    case (.there, _): changes = moved
    case (.here, _): changes = stayed
    case (nil, let problem?): changes = givingUpMove(problem)
    case (nil, nil): return
    }
    let intended = try intend(volume.id, changes, in: session)
    if let node = intended.node { effects.wake.insert(.node(node.uuid)) }
    effects.wake.formUnion([.work, .events])
    guard end != nil else { return }
    try EventStore.append(
      .volumeUpdated, project: volume.project, resource: volume.id.uuid, data: ["name": volume.name], in: session)
  }

  /// What becomes of volumes that have lost their node. One that was going from it to a pool that nodes share is there, or nowhere; one that
  /// was going to it stays where it was.
  static func losing(_ node: NodeID, of ids: [UUID], whereShared shared: SQL) -> SQL {
    let isToShared: SQL = "coalesce((SELECT g.kind = 'rbd' FROM storage_pools g WHERE g.id = moving_to), false)"
    let goesOn: SQL = "\(fragment: shared) AND \(fragment: isToShared)"
    return """
      UPDATE volumes
         SET node_id = NULL, fence = \(fragment: shared) OR \(fragment: isToShared),
             pool_id = CASE WHEN \(fragment: isToShared) AND NOT \(fragment: shared) THEN moving_to ELSE pool_id END,
             moving_to = CASE WHEN \(fragment: goesOn) THEN moving_to END,
             move_failure = CASE WHEN \(fragment: goesOn) THEN move_failure END,
             move_failure_detail = CASE WHEN \(fragment: goesOn) THEN move_failure_detail END
       WHERE node_id = \(node) AND id = ANY(\(ids))
      """
  }
}
