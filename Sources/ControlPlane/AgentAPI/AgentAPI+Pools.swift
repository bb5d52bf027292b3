import AloftModel
import Foundation
import HTTP
import Postgres

/// What the node is told that looks through a pool which nodes share; see ``SharedPoolContents``.
extension AgentAPI {
  /// For as many volumes and snapshots as a pool may have.
  static let poolBodyLimit = 32 << 20

  /// Of the nodes that live and reach the pool it is always the same one.
  func turn(at pool: String, node: NodeID) async throws -> Reply {
    let chosen = try await plane.database.run { session in
      try session.one(
        """
        SELECT p.node_id FROM storage_pools s JOIN storage_places p ON p.pool_id = s.id JOIN nodes n ON n.id = p.node_id
               LEFT JOIN node_leases l ON l.node_id = n.id
         WHERE s.name = \(pool) AND s.kind = 'rbd' AND p.problem IS NULL AND n.down_since IS NULL
           AND coalesce(l.expires_at > aloft_now(), true)
         ORDER BY p.node_id LIMIT 1
        """)?.get(0, as: NodeID.self)
    }
    return try .encoded(SharedPoolTurn(look: chosen == node))
  }

  func compare(_ contents: SharedPoolContents, with name: String, node: NodeID) async throws -> Reply {
    let (volumes, snapshots) = (contents.volumes.map(\.uuid), contents.snapshots.map(\.uuid))
    let differences = try await plane.database.transaction(.snapshot) { session -> SharedPoolDifferences? in
      let pool = try session.one(
        """
        SELECT s.id FROM storage_pools s JOIN storage_places p ON p.pool_id = s.id
         WHERE s.name = \(name) AND s.kind = 'rbd' AND p.node_id = \(node)
        """)
      guard let pool = try pool?.get(0, as: StoragePoolID.self) else { return nil }
      // One that is in another pool may be on its way.
      let unknownVolumes = try session.query(
        """
        SELECT id FROM unnest(\(volumes)::uuid[]) AS id WHERE NOT EXISTS (SELECT 1 FROM volumes v WHERE v.id = id.id)
         ORDER BY id
        """)
      let unknownSnapshots = try session.query(
        """
        SELECT id FROM unnest(\(snapshots)::uuid[]) AS id
         WHERE NOT EXISTS (SELECT 1 FROM volume_snapshots m WHERE m.snapshot_id = id.id)
           AND NOT EXISTS (SELECT 1 FROM image_captures c WHERE c.snapshot_id = id.id AND c.ended_at IS NULL)
           AND NOT EXISTS (SELECT 1 FROM backups b WHERE b.snapshot_id = id.id AND b.keeps_snapshot)
         ORDER BY id
        """)
      let missing = try session.query(
        """
        SELECT id FROM volumes
         WHERE pool_id = \(pool) AND moving_to IS NULL AND is_made AND deleted_at IS NULL AND NOT id = ANY(\(volumes))
         ORDER BY id
        """)
      return SharedPoolDifferences(
        unknownVolumes: try unknownVolumes.map { try $0.get(0) },
        unknownSnapshots: try unknownSnapshots.map { try $0.get(0) }, missing: try missing.map { try $0.get(0) })
    }
    guard let differences else {
      refused("pool", name, node)
      throw Problem(.notFound, "this node reaches no pool \(AgentText.shortened(name)) that nodes share")
    }
    return try .encoded(differences)
  }
}
