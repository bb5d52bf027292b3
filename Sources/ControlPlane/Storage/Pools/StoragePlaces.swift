import AloftModel
import Foundation
import Postgres

/// The parts of storage pools that nodes have, as their agents report them. A pool that nodes share is one part: its places say
/// which nodes reach it.
enum StoragePlaces {
  /// Takes over what a node's agent found. Pools that the cloud does not have are passed over. Operators are told when a place
  /// gets full, or is not any more.
  static func report(_ pools: [NodeStoragePool], of node: NodeID, in session: Session) throws {
    let known = try session.query(
      """
      SELECT s.id, s.name, s.warning_percent, s.critical_percent, p.level, p.total_bytes, p.free_bytes, p.used_bytes,
             p.problem, s.kind, s.total_bytes, s.free_bytes, s.used_bytes, s.level
        FROM storage_pools s LEFT JOIN storage_places p ON p.pool_id = s.id AND p.node_id = \(node)
       WHERE s.name = ANY(\(pools.map(\.name))) ORDER BY s.id
      """)
    var statements: [SQL] = []
    for row in known {
      let name = try row.get(1, as: String.self)
      guard var pool = pools.first(where: { $0.name == name }) else { continue }
      let kind = try row.get(9, as: StoragePoolKind.self)
      if pool.kind != kind {
        // Nothing that is counted for the one holds for the other.
        pool = NodeStoragePool(
          name: name, kind: kind, totalBytes: 0, freeBytes: 0, usedBytes: 0,
          problem: "the pool is of kind \(kind.rawValue), and this node's agent has it as \(pool.kind.rawValue)")
      }
      let fullness = Fullness(total: pool.totalBytes, free: pool.freeBytes)
      let found = fullness.level(warning: try row.get(2), critical: try row.get(3))
      if kind.isShared, pool.problem == nil {
        let same =
          try row.get(10, as: Int?.self) == pool.totalBytes && row.get(11, as: Int?.self) == pool.freeBytes
          && row.get(12, as: Int?.self) == pool.usedBytes && row.get(13, as: String.self) == found.rawValue
        if !same { try share(pool, try row.get(0), in: session) }
      }
      let level = kind.isShared ? .ok : found
      let before = try row.get(4, as: String?.self)
      let same =
        try before == level.rawValue && row.get(5) == pool.totalBytes && row.get(6) == pool.freeBytes
        && row.get(7) == pool.usedBytes && row.get(8, as: String?.self) == pool.problem
      if same { continue }
      let id = try row.get(0, as: StoragePoolID.self)
      let counts = name != StoragePoolRecord.localName && !kind.isShared
      statements.append(writing(pool, id, of: node, level: level, counts: counts))
      guard level.rawValue != before ?? Fullness.Level.ok.rawValue else { continue }
      statements.append(
        EventStore.appending(
          .storagePoolFilling, project: nil, resource: id.uuid,
          data: [
            "name": name, "node": node.description, "level": level.rawValue, "percent": "\(fullness.percent)",
          ]))
    }
    _ = try session.pipeline(statements)
  }

  /// Takes over how full a pool is that nodes share, whichever of them tells.
  private static func share(_ pool: NodeStoragePool, _ id: StoragePoolID, in session: Session) throws {
    // Nodes that report at the same time tell operators once.
    let before = try session.one(
      "SELECT level, warning_percent, critical_percent FROM storage_pools WHERE id = \(id) FOR NO KEY UPDATE")
    guard let before else { return }
    let fullness = Fullness(total: pool.totalBytes, free: pool.freeBytes)
    let level = fullness.level(warning: try before.get(1), critical: try before.get(2))
    try session.execute(
      """
      UPDATE storage_pools SET total_bytes = \(pool.totalBytes), free_bytes = \(pool.freeBytes), used_bytes = \(pool.usedBytes),
             level = \(level.rawValue), limit_gib = floor((\(pool.totalBytes)::bigint >> 30) * overcommit)
       WHERE id = \(id)
      """)
    guard try before.get(0) != level.rawValue else { return }
    try EventStore.append(
      .storagePoolFilling, project: nil, resource: id.uuid,
      data: ["name": pool.name, "level": level.rawValue, "percent": "\(fullness.percent)"], in: session)
  }

  private static func writing(
    _ pool: NodeStoragePool, _ id: StoragePoolID, of node: NodeID, level: Fullness.Level, counts: Bool
  ) -> SQL {
    """
    INSERT INTO storage_places AS p (pool_id, node_id, total_bytes, free_bytes, used_bytes, problem, level, limit_gib,
                                     claimed_gib)
    SELECT s.id, \(node), \(pool.totalBytes), \(pool.freeBytes), \(pool.usedBytes), \(pool.problem), \(level.rawValue),
           CASE WHEN \(counts)::boolean THEN floor((\(pool.totalBytes)::bigint >> 30) * s.overcommit) END,
           CASE WHEN \(counts)::boolean THEN 0 END
      FROM storage_pools s WHERE s.id = \(id)
    ON CONFLICT (pool_id, node_id) DO UPDATE
       SET total_bytes = excluded.total_bytes, free_bytes = excluded.free_bytes, used_bytes = excluded.used_bytes,
           problem = excluded.problem, level = excluded.level, limit_gib = excluded.limit_gib,
           reported_at = aloft_now()
    """
  }

  /// The nodes that have so much room in a pool and can be asked for it, those with the most first.
  static func withRoom(for gib: Int, in pool: StoragePoolID, _ session: Session) throws -> [NodeID] {
    try session.query(
      """
      SELECT p.node_id FROM storage_places p JOIN nodes n ON n.id = p.node_id JOIN storage_pools s ON s.id = p.pool_id
       WHERE p.pool_id = \(pool) AND p.problem IS NULL AND n.schedulable AND n.down_since IS NULL
         AND \(fragment: hasRoom(gib))
       ORDER BY p.limit_gib - p.claimed_gib DESC, \(fragment: load), p.node_id LIMIT 8
      """
    ).map { try $0.get(0) }
  }

  /// All nodes that have room for so much in a pool, or reach it where nodes share it.
  static func all(withRoomFor gib: Int, in pool: StoragePoolID, _ session: Session) throws -> Set<UUID> {
    let rows = try session.query(
      """
      SELECT p.node_id FROM storage_places p JOIN storage_pools s ON s.id = p.pool_id
       WHERE p.pool_id = \(pool) AND p.problem IS NULL AND \(fragment: hasRoom(gib))
      """)
    return Set(try rows.map { try $0.get(0, as: UUID.self) })
  }

  /// Whether place `p` of pool `s` has room.
  private static func hasRoom(_ gib: Int) -> SQL {
    """
    CASE WHEN s.kind = 'rbd' THEN s.claimed_gib + \(gib)::bigint <= s.limit_gib
         ELSE p.claimed_gib + \(gib)::bigint <= p.limit_gib END
    """
  }

  /// How many volumes of pool `p` a node looks after.
  private static let load: SQL = """
    (SELECT count(*) FROM volumes v WHERE v.pool_id = p.pool_id AND v.node_id = p.node_id)
    """

  /// Why a node does not reach a pool that nodes share; nil if it does.
  static func whyNot(_ node: NodeID, _ pool: StoragePoolID, in session: Session) throws -> String? {
    let row = try session.one("SELECT problem FROM storage_places WHERE pool_id = \(pool) AND node_id = \(node)")
    guard let row else { return "its agent was not told how" }
    return try row.get(0)
  }

  /// A living node other than its own that reaches the pool of a volume, which nodes share: that of its VM, if it has one.
  static func anyNode(for volume: VolumeRecord, in session: Session) throws -> NodeID? {
    try session.one(
      """
      SELECT p.node_id FROM storage_places p JOIN nodes n ON n.id = p.node_id LEFT JOIN node_leases l ON l.node_id = n.id
       WHERE p.pool_id = \(volume.pool.id) AND p.problem IS NULL AND n.down_since IS NULL
         AND coalesce(l.expires_at > aloft_now(), true) AND p.node_id IS DISTINCT FROM \(volume.nodeID)::uuid
       ORDER BY EXISTS (SELECT 1 FROM claims c WHERE c.vm_id = \(volume.vmID)::uuid AND c.node_id = p.node_id) DESC,
                n.schedulable DESC, \(fragment: load), p.node_id LIMIT 1
      """)?.get(0)
  }

  /// Capacity × the pool's ratio, after that has changed.
  static func recomputeLimits(pool: StoragePoolID, in session: Session) throws {
    try session.execute(
      """
      UPDATE storage_places p SET limit_gib = floor((p.total_bytes >> 30) * s.overcommit)
        FROM storage_pools s
       WHERE s.id = p.pool_id AND s.id = \(pool) AND p.limit_gib IS NOT NULL
      """)
    try session.execute(
      "UPDATE storage_pools SET limit_gib = floor((total_bytes >> 30) * overcommit) WHERE id = \(pool) AND kind = 'rbd'"
    )
  }
}

/// How full a place really is, whatever was promised.
struct Fullness: Sendable, Equatable {
  enum Level: String, Sendable { case ok, warning, critical }

  var total: Int
  var free: Int

  /// Rounded down; nothing is full where there is nothing.
  var percent: Int { total > 0 ? Int(Double(total - max(0, min(free, total))) / Double(total) * 100) : 0 }

  func level(warning: Int, critical: Int) -> Level {
    percent >= critical ? .critical : percent >= warning ? .warning : .ok
  }
}
