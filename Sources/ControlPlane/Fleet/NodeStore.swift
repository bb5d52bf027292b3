import AloftModel
import Foundation
import JSON
import Postgres

/// The rows of `nodes`.
enum NodeStore {
  /// By id or name.
  static func find(_ reference: String, in session: Session) throws -> NodeRecord? {
    let condition: SQL = NodeID(reference).map { "n.id = \($0)" } ?? "n.name = \(reference)"
    return try session.one(
      "SELECT \(fragment: NodeRecord.columns) FROM \(fragment: NodeRecord.source) WHERE \(fragment: condition)"
    )
    .map { try NodeRecord($0) }
  }

  /// Locks the node that a call names.
  static func lock(_ call: Call, in session: Session) throws -> NodeRecord {
    let reference = call.string("node") ?? ""
    guard let found = try find(reference, in: session),
      try session.one("SELECT 1 FROM nodes WHERE id = \(found.id) FOR UPDATE") != nil,
      let node = try find(found.id.description, in: session)
    else { throw Problem(.notFound, "there is no node \(reference)") }
    return node
  }

  static func page(labels: [VMStore.LabelFilter], after: UUID?, limit: Int, in session: Session) throws -> [NodeRecord]
  {
    var condition: SQL = "true"
    if let after { condition.append(" AND n.id > \(after)") }
    for label in labels { condition.append(VMStore.labelCondition("n.labels", label)) }
    return try session.query(
      "SELECT \(fragment: NodeRecord.columns) FROM \(fragment: NodeRecord.source) WHERE \(fragment: condition) ORDER BY n.id LIMIT \(limit)"
    ).map { try NodeRecord($0) }
  }

  static func insert(
    _ id: NodeID, name: String, pool: UUID, labels: String, keyHash: [UInt8], report: NodeReport, in session: Session
  ) throws {
    try NodePoolStore.keepAsTheyAre(in: session)
    try session.execute(
      """
      INSERT INTO nodes (id, name, pool_id, labels, architecture, accelerator, facts, vcpus, memory_mib, disk_gib,
                         vcpus_limit, memory_mib_limit, disk_gib_limit, public_key_sha256, networking)
      VALUES (\(id), \(name), \(pool), \(JSONText(labels))::jsonb, \(report.architecture), \(report.accelerator),
              \(JSONText(report.facts.jsonText))::jsonb, \(report.vcpus), \(report.memoryMib), \(report.diskGib),
              0, 0, 0, \(keyHash), \(report.networkingText)::jsonb)
      """, unique: "nodes_name_key",
      else: Problem(
        .nameTaken, "a node named \(name) exists already; give the agent another name or delete that node"))
    try recomputeLimits(node: id, in: session)
  }

  /// Takes over what the agent found out; what it says nothing of (its networks, orphans), it does not know yet, and the last word
  /// counts.
  /// Returns false when nothing is new. The node's version stays: it names what an operator
  /// has set, so that what is observed never gets in the way of `If-Match`.
  static func report(_ id: NodeID, _ report: NodeReport, in session: Session) throws -> Bool {
    let facts = JSONText(report.facts.jsonText)
    let networking: SQL = "coalesce(\(report.networkingText)::jsonb, networking)"
    let orphans: SQL = report.orphans.map { "\($0)::text[]" } ?? "orphans"
    let isNews: SQL = """
      (networking, orphans, architecture, accelerator, facts, vcpus, memory_mib, disk_gib)
        IS DISTINCT FROM (\(fragment: networking), \(fragment: orphans), \(report.architecture), \(report.accelerator), \(facts)::jsonb, \(report.vcpus)::integer,
                          \(report.memoryMib)::bigint, \(report.diskGib)::bigint)
      """
    guard try session.one("SELECT 1 FROM nodes WHERE id = \(id) AND \(fragment: isNews)") != nil else { return false }
    try NodePoolStore.keepAsTheyAre(in: session)
    let changed = try session.execute(
      """
      UPDATE nodes SET architecture = \(report.architecture), accelerator = \(report.accelerator), facts = \(facts)::jsonb,
                       vcpus = \(report.vcpus), memory_mib = \(report.memoryMib), disk_gib = \(report.diskGib),
                       networking = \(fragment: networking), orphans = \(fragment: orphans), updated_at = aloft_now()
       WHERE id = \(id) AND \(fragment: isNews)
      """)
    if changed > 0 { try recomputeLimits(node: id, in: session) }
    return changed > 0
  }

  /// Capacity × the pool's ratios: what may be claimed by a node. The caller keeps the pools as they are
  /// (``NodePoolStore/keepAsTheyAre(in:)``) and does so before it locks the node.
  static func recomputeLimits(node: NodeID, in session: Session) throws {
    try recomputeLimits(where: "n.id = \(node)", in: session)
  }

  /// The same for all nodes of a pool that the caller has locked.
  static func recomputeLimits(pool: NodePoolID, in session: Session) throws {
    // In order: an UPDATE locks its rows as it comes upon them.
    try session.execute("SELECT 1 FROM nodes WHERE pool_id = \(pool) ORDER BY id FOR NO KEY UPDATE")
    try recomputeLimits(where: "s.id = \(pool)", in: session)
  }

  private static func recomputeLimits(where condition: SQL, in session: Session) throws {
    try session.execute(
      """
      UPDATE nodes n SET vcpus_limit = floor(n.vcpus * s.cpu_overcommit),
                         memory_mib_limit = floor(n.memory_mib * s.memory_overcommit),
                         disk_gib_limit = floor(n.disk_gib * s.disk_overcommit)
        FROM node_pools s
       WHERE s.id = n.pool_id AND \(fragment: condition)
      """)
  }

  /// Gives back every claim on a node that is gone for good. Returns the VMs that had them, as they were before.
  static func releaseClaims(of node: NodeID, in session: Session) throws -> [VMRecord] {
    // The VMs first, in order: the same order as everybody else locks in.
    _ = try session.query(
      """
      SELECT 1 FROM vms WHERE id IN (SELECT vm_id FROM claims WHERE node_id = \(node)) ORDER BY id FOR UPDATE
      """)
    let vms = try VMStore.placed(on: node, in: session)
    try session.execute("DELETE FROM claims WHERE vm_id = ANY(\(vms.map(\.id.uuid)))")
    return vms
  }
}

extension NodeReport {
  /// What the database keeps of the node's networking: the JSON object that the API shows.
  fileprivate var networkingText: JSONText? {
    networking.map { networking in
      var writer = JSONWriter()
      writer.object { writer in
        writer.field("datapath", networking.datapath)
        writer.field("tunnel_address", networking.tunnelAddress)
        writer.field("physical_networks", networking.physicalNetworks.sorted())
        writer.field("problem", networking.problem)
      }
      return JSONText(String(decoding: writer.bytes, as: UTF8.self))
    }
  }
}
