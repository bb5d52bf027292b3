import AloftModel
import Foundation
import JSON
import Placement
import Postgres

/// Nodes as they are in the database, all of them or those whose rows changed.
///
/// A row's `xmin` is the transaction that wrote it. Every transaction below a snapshot's oldest running one had ended when the
/// snapshot was taken, so its rows were seen; what is not below it may be new and is read (again). Ages are compared, because the
/// 32 bits of `xmin` wrap around; a row so old that they mislead was read long ago, and is read once more.
struct NodeChanges: Sendable {
  /// The oldest transaction that was running when the rows were read.
  struct Mark: Sendable, Equatable { fileprivate var transaction: UInt64 }

  var nodes: [InventoryNode]
  var mark: Mark

  /// Reads the nodes that changed since `mark`, or all of them.
  static func read(since mark: Mark?, _ database: Database) async throws -> NodeChanges {
    try await database.run { session in
      // The mark is taken before the rows: what happens in between comes twice rather than never.
      let results = try session.pipeline([
        "SELECT pg_snapshot_xmin(pg_current_snapshot())::text", statement(since: mark),
      ])
      guard let transaction = try results[0].first?.get(0, as: UInt64.self) else {
        throw Problem(.internal, "the server did not tell its snapshot")
      }
      return NodeChanges(nodes: try results[1].map(node), mark: Mark(transaction: transaction))
    }
  }

  private static func statement(since mark: Mark?) -> SQL {
    var statement: SQL = """
      SELECT n.id, n.schedulable, n.down_since IS NULL AND coalesce(l.expires_at > aloft_now(), true), n.pool_id, n.labels,
             n.architecture, n.accelerator, n.vcpus, n.memory_mib, n.disk_gib,
             n.vcpus_claimed, n.memory_mib_claimed, n.disk_gib_claimed,
             s.cpu_overcommit, s.memory_overcommit, s.disk_overcommit, s.strategy,
             n.networking IS NOT NULL AND n.networking ->> 'problem' IS NULL, f.pools
        FROM nodes n JOIN node_pools s ON s.id = n.pool_id LEFT JOIN node_leases l ON l.node_id = n.id
             LEFT JOIN (SELECT p.node_id, array_agg(p.pool_id) AS pools
                          FROM storage_pools t JOIN storage_places p ON p.pool_id = t.id
                         WHERE t.kind = 'rbd' AND p.problem IS NULL GROUP BY p.node_id) f ON f.node_id = n.id
      """
    guard let mark else { return statement }
    // A lease that ended changes no row of `nodes` until NodeWatch has seen it; which shared pools a node reaches is seen when all nodes
    // are read.
    let transaction = String(mark.transaction & 0xffff_ffff)
    statement.append(" WHERE age(n.xmin) <= age(\(transaction)::text::xid) OR l.expires_at <= aloft_now()")
    return statement
  }

  private static func node(_ row: Row) throws -> InventoryNode {
    let state: InventoryNode.State = try row.get(2) ? (try row.get(1) ? .ready : .cordoned) : .down
    return InventoryNode(
      id: try row.get(0), revision: 0, state: state, pool: try row.get(3),
      labels: try labels(try row.get(4, as: JSONText.self).text), architecture: try row.get(5),
      accelerator: InventoryNode.Accelerator(rawValue: try row.get(6)) ?? .tcg,
      capacity: Capacity(vcpus: try row.get(7), memoryMiB: try row.get(8), diskGiB: try row.get(9)),
      claimed: Capacity(vcpus: try row.get(10), memoryMiB: try row.get(11), diskGiB: try row.get(12)),
      overcommit: InventoryNode.Overcommit(cpu: try row.get(13), memory: try row.get(14), disk: try row.get(15)),
      strategy: InventoryNode.Strategy(rawValue: try row.get(16)) ?? .spread,
      hasNetworks: try row.get(17), storagePools: Set(try row.get(18, as: [UUID]?.self) ?? []))
  }

  private static func labels(_ json: String) throws -> [String: String] {
    json == "{}" ? [:] : try JSONCoder.decode([String: String].self, from: Array(json.utf8))
  }
}
