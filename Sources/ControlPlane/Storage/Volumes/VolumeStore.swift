import AloftModel
import Foundation
import Postgres

/// The rows of `volumes` and what hangs on them.
enum VolumeStore {
  /// Locks a volume until the transaction ends, and reads it as it is then; nil when it is gone. Other statements travel in the
  /// same round trip; gives their rows too.
  static func lock(
    _ id: VolumeID, and others: [SQL] = [], in session: Session
  ) throws -> (volume: VolumeRecord, others: [Rows])? {
    let results = try session.pipeline(
      [
        "SELECT 1 FROM volumes WHERE id = \(id) FOR UPDATE",
        "SELECT \(fragment: VolumeRecord.columns) FROM volumes r \(fragment: VolumeRecord.joins) WHERE r.id = \(id)",
      ] + others)
    return try results[1].first.map { (try VolumeRecord($0), Array(results[2...])) }
  }

  /// Makes the next generation of a volume's document and puts it in front of its node's agent. `changes` are further
  /// assignments, each with a comma behind it. Returns the generation and the node.
  ///
  /// The node's count is taken under its row's lock, so that an agent that asks `after` a count never misses an earlier commit.
  @discardableResult
  static func intend(_ id: VolumeID, _ changes: SQL = "", in session: Session) throws -> (
    generation: Int, node: NodeID?
  ) {
    let node = try session.one(
      """
      UPDATE nodes SET assignment_revision = assignment_revision + 1
       WHERE id = (SELECT node_id FROM volumes WHERE id = \(id))
      RETURNING id, assignment_revision
      """)
    let revision = try node?.get(1, as: Int.self) ?? 0
    let generation = try session.one(
      """
      UPDATE volumes SET \(fragment: changes) generation = generation + 1, assignment_revision = \(revision),
                         revision = revision + 1, updated_at = aloft_now()
       WHERE id = \(id)
      RETURNING generation
      """)?.get(0, as: Int.self)
    return (generation ?? 0, try node?.get(0))
  }

  /// What becomes of the volumes of a VM that is being deleted: those that are its own go with it, and with their last volume the
  /// snapshots; the others are let go.
  static func release(of vm: VMID, in session: Session) throws {
    let volumes = try session.query(
      """
      SELECT id, delete_with_vm, (SELECT s.kind = 'rbd' FROM storage_pools s WHERE s.id = pool_id)
        FROM volumes WHERE vm_id = \(vm) ORDER BY id FOR UPDATE
      """)
    if try volumes.contains(where: { try $0.get(2) }) {
      let place = try session.one("SELECT node_id FROM claims WHERE vm_id = \(vm) AND purpose = 'run'")
      try holdNodes(of: try volumes.map { try $0.get(0) }, and: [try place?.get(0)], in: session)
    }
    for row in volumes {
      if try row.get(1) {
        let id = try row.get(0, as: VolumeID.self)
        let intended = try intend(id, "deleted_at = coalesce(deleted_at, aloft_now()),", in: session)
        // No agent will say that it is gone.
        if intended.node == nil { try WorkQueue.wake(.volume, id.uuid, in: session) }
      } else {
        try intend(try row.get(0), detached, in: session)
      }
    }
  }

  /// The assignments of a volume that a VM gets, behind those that it has. Where another node's agent has the volume, in a pool that
  /// nodes share, that one has to let go of it first.
  static func attached(to vm: VMID, bus: DiskBus, bootIndex: Int?, deletesWithVM: Bool) -> SQL {
    """
    vm_id = \(vm), detaching = false, bus = \(bus), boot_index = \(bootIndex), delete_with_vm = \(deletesWithVM),
    position = (SELECT coalesce(max(position) + 1, 0) FROM volumes WHERE vm_id = \(vm)),
    next_node_id = (SELECT c.node_id FROM claims c JOIN storage_pools s ON s.id = volumes.pool_id
                     WHERE c.vm_id = \(vm) AND s.kind = 'rbd' AND c.node_id IS DISTINCT FROM volumes.node_id),
    """
  }

  /// The assignments of a volume that no VM has.
  static let detached: SQL = "vm_id = NULL, position = NULL, boot_index = NULL, detaching = false,"

  /// Takes over what an agent has seen of a volume: once it is made or was put back, what for that was needed is not needed any more,
  /// and a snapshot that waited for that may go. All in one update: behind another one of the same transaction, PostgreSQL would
  /// look at the row's VM again, and wait for whoever changes that and waits for the volume.
  static func seen(_ observation: VolumeObservation, taken: [UUID]) -> SQL {
    let isReady = observation.state == .ready
    return """
      WITH source AS (SELECT source_snapshot_id AS id FROM volumes WHERE id = \(observation.volume)), seen AS (
        UPDATE volumes v
           SET is_made = is_made OR \(isReady)::boolean,
               source_snapshot_id = CASE WHEN \(isReady)::boolean THEN NULL ELSE source_snapshot_id END,
               source_volume_id = CASE WHEN \(isReady)::boolean THEN NULL ELSE source_volume_id END,
               source_backup_id = CASE WHEN \(isReady)::boolean THEN NULL ELSE source_backup_id END,
               base_backup_id = CASE WHEN epoch <= \(observation.epoch)::bigint THEN NULL ELSE base_backup_id END,
               base_snapshot_id = CASE WHEN epoch <= \(observation.epoch)::bigint THEN NULL ELSE base_snapshot_id END,
               head_id = coalesce((SELECT m.snapshot_id FROM volume_snapshots m JOIN snapshots s ON s.id = m.snapshot_id
                                    WHERE m.volume_id = v.id AND m.snapshot_id = ANY(\(taken)) AND NOT s.hidden
                                    ORDER BY m.snapshot_id DESC LIMIT 1), head_id)
         WHERE id = \(observation.volume))
      INSERT INTO work (kind, id, due_at)
      SELECT \(WorkKind.snapshot.rawValue), id, aloft_now() FROM source WHERE id IS NOT NULL AND \(isReady)::boolean
      ON CONFLICT (kind, id) DO UPDATE SET due_at = least(work.due_at, excluded.due_at), wakes = work.wakes + 1
      """
  }

  /// Locks volumes, in order, and then their nodes and another one.
  static func hold(_ ids: [UUID], and node: NodeID?, in session: Session) throws {
    try session.execute("SELECT 1 FROM volumes WHERE id = ANY(\(ids)) ORDER BY id FOR UPDATE")
    try holdNodes(of: ids, and: [node], in: session)
  }

  /// Locks the nodes of volumes, which the caller has locked, and others, in order: before the first of several has its count taken.
  /// Volumes of one VM or one snapshot are on several nodes where these share their pools.
  static func holdNodes(of volumes: [UUID], and others: [NodeID?] = [], in session: Session) throws {
    try session.execute(
      """
      SELECT 1 FROM nodes
       WHERE id = ANY(\(others.compactMap { $0?.uuid })) OR id IN (SELECT node_id FROM volumes WHERE id = ANY(\(volumes)))
       ORDER BY id FOR NO KEY UPDATE
      """)
  }

  /// Lets go of volumes that their guest does not have any more; the caller holds them.
  static func detach(_ ids: [UUID], in session: Session) throws {
    for id in ids { try intend(VolumeID(id), detached, in: session) }
  }

  /// The volumes of a node that is gone for good have lost it. Those in pools that nodes share lose nothing else: others get them, and
  /// cut the node off. Without `force` only these. Returns them.
  static func loseNode(_ node: NodeID, force: Bool, in session: Session) throws -> [UUID] {
    let shared: SQL = "(SELECT s.kind = 'rbd' FROM storage_pools s WHERE s.id = pool_id)"
    let rows = try session.query(
      """
      SELECT id, next_node_id IS NOT DISTINCT FROM \(node) FROM volumes
       WHERE (node_id = \(node) OR next_node_id = \(node)) AND (\(force) OR \(fragment: shared)) ORDER BY id FOR UPDATE
      """)
    try holdNodes(of: try rows.map { try $0.get(0) }, and: [node], in: session)
    let lost = try rows.map { (id: try $0.get(0, as: UUID.self), isNext: try $0.get(1, as: Bool.self)) }
    for volume in lost where volume.isNext { try intend(VolumeID(volume.id), "next_node_id = NULL,", in: session) }
    let ids = lost.map(\.id)
    try session.execute(losing(node, of: ids, whereShared: shared))
    try session.execute(
      "UPDATE snapshot_memories SET node_id = NULL WHERE node_id = \(node) AND volume_id = ANY(\(ids))")
    return ids
  }

  /// Puts the document of a volume, which the caller has locked, in front of another node's agent. What was seen of it stays until that
  /// one reports; its count has nothing to do with the other's.
  static func handOver(_ id: VolumeID, to node: NodeID, fence: Bool, in session: Session) throws {
    let count = try session.one(
      "UPDATE nodes SET assignment_revision = assignment_revision + 1 WHERE id = \(node) RETURNING assignment_revision")
    guard let revision = try count?.get(0, as: Int.self) else { return }
    // All in one update, as in ``seen(_:taken:)``.
    try session.execute(
      """
      UPDATE volumes SET node_id = \(node), next_node_id = NULL, fence = \(fence), generation = generation + 1,
                         assignment_revision = \(revision), revision = revision + 1, updated_at = aloft_now()
       WHERE id = \(id)
      """)
    try session.execute(
      """
      UPDATE volume_observations o
         SET sequence = 0, state = CASE WHEN v.is_made THEN 'ready' ELSE 'preparing' END, activity = NULL, problem_code = NULL,
             problem_detail = NULL, pool = NULL
        FROM volumes v WHERE v.id = o.volume_id AND v.id = \(id)
      """)
  }
}
