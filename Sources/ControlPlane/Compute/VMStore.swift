import AloftModel
import Foundation
import JSON
import Postgres

/// The rows of `vms` and what hangs on them.
enum VMStore {
  /// A filter on labels: a key, and the value it must have if one is given.
  struct LabelFilter: Sendable, Equatable {
    var key: String
    var value: String?
  }

  // MARK: Reading

  static func find(_ id: VMID, in session: Session) throws -> VMRecord? {
    try session.one("SELECT \(fragment: VMRecord.columns) FROM \(fragment: VMRecord.source) WHERE v.id = \(id)").map {
      try VMRecord($0)
    }
  }

  /// By id, if it is of that project.
  static func find(_ id: VMID, project: SQL, in session: Session) throws -> VMRecord? {
    try session.one(
      """
      SELECT \(fragment: VMRecord.columns) FROM \(fragment: VMRecord.source)
       WHERE v.id = \(id) AND v.project_id = \(fragment: project)
      """
    ).map { try VMRecord($0) }
  }

  /// By name among those that are not being deleted: the names of those are free already.
  static func find(name: String, project: SQL, in session: Session) throws -> VMRecord? {
    try session.one(
      """
      SELECT \(fragment: VMRecord.columns) FROM \(fragment: VMRecord.source)
       WHERE v.project_id = \(fragment: project) AND v.name = \(name) AND v.deleted_at IS NULL
      """
    ).map { try VMRecord($0) }
  }

  /// A page in the order of ids, which is the order of creation.
  static func page(
    project: SQL, name: String?, labels: [LabelFilter], node: NodeID?, after: UUID?, limit: Int,
    in session: Session
  ) throws -> [VMRecord] {
    try session.query(
      paging(project: project, name: name, labels: labels, node: node, after: after, limit: limit)
    ).map { try VMRecord($0) }
  }

  /// The statement of a page. It chooses the page's rows first and joins the rest to them, so that a page costs the same
  /// wherever it is. The VMs of a node are found by its claims, which an index holds in the order of the page.
  static func paging(
    project: SQL, name: String?, labels: [LabelFilter], node: NodeID?, after: UUID?, limit: Int
  ) -> SQL {
    var condition: SQL = "v.project_id = \(fragment: project)"
    if let name { condition.append(" AND v.name = \(name)") }
    for label in labels { condition.append(labelCondition("v.labels", label)) }
    let page: SQL
    if let node {
      let behind: SQL = after.map { " AND c.vm_id > \($0)" } ?? ""
      // LIMIT 1 keeps PostgreSQL from joining all VMs to all claims of the node.
      page = """
        SELECT v.* FROM claims c, LATERAL (SELECT * FROM vms v WHERE v.id = c.vm_id AND \(fragment: condition) LIMIT 1) v
         WHERE c.node_id = \(node) AND c.purpose = 'run'\(fragment: behind) ORDER BY c.vm_id LIMIT \(limit)
        """
    } else {
      if let after { condition.append(" AND v.id > \(after)") }
      page = "SELECT * FROM vms v WHERE \(fragment: condition) ORDER BY v.id LIMIT \(limit)"
    }
    return """
      SELECT \(fragment: VMRecord.columns) FROM (\(fragment: page)) v \(fragment: VMRecord.joins) ORDER BY v.id
      """
  }

  /// The condition that a row's labels hold `filter`, to follow another one.
  static func labelCondition(_ column: SQL, _ filter: LabelFilter) -> SQL {
    guard let value = filter.value else { return " AND \(fragment: column) ? \(filter.key)" }
    let pair = JSONText(String(decoding: [filter.key: value].jsonBytes, as: UTF8.self))
    return " AND \(fragment: column) @> \(pair)::jsonb"
  }

  /// The VMs that are placed on a node, in the order of ids.
  static func placed(on node: NodeID, in session: Session) throws -> [VMRecord] {
    try session.query(
      """
      SELECT \(fragment: VMRecord.columns) FROM \(fragment: VMRecord.source)
       WHERE v.id IN (SELECT vm_id FROM claims WHERE node_id = \(node)) ORDER BY v.id
      """
    ).map { try VMRecord($0) }
  }

  // MARK: Changing

  /// Locks a VM until the transaction ends, and reads it as it is then; nil when it is gone. One round trip: the second
  /// statement looks at the database anew, behind the wait for the lock.
  static func lock(_ id: VMID, in session: Session) throws -> VMRecord? {
    try lock(id, and: [], in: session)?.vm
  }

  /// Like ``lock(_:in:)``, with other statements in the same round trip; gives their rows too.
  static func lock(_ id: VMID, and others: [SQL], in session: Session) throws -> (vm: VMRecord, others: [Rows])? {
    let results = try session.pipeline(
      [
        "SELECT 1 FROM vms WHERE id = \(id) FOR UPDATE",
        "SELECT \(fragment: VMRecord.columns) FROM \(fragment: VMRecord.source) WHERE v.id = \(id)",
      ] + others)
    return try results[1].first.map { (try VMRecord($0), Array(results[2...])) }
  }

  /// Changes the user's own words for a VM.
  static func update(_ id: VMID, name: String?, labels: String?, in session: Session) throws {
    let labels = labels.map { JSONText($0) }
    try session.execute(
      """
      UPDATE vms SET name = coalesce(\(name), name), labels = coalesce(\(labels)::jsonb, labels),
                     revision = revision + 1, updated_at = aloft_now()
       WHERE id = \(id)
      """, unique: "vms_name", else: .nameTaken(name ?? "", what: "a VM"))
  }

  /// Makes the next generation of the intent and puts it in front of the node's agent. Returns the generation and the node.
  ///
  /// The node's count is taken under its row's lock, so that an agent that asks `after` a count never misses an earlier commit.
  static func intend(
    _ id: VMID, power: Power? = nil, graceSeconds: Int? = nil, deleted: Bool = false, in session: Session
  ) throws -> (generation: Int, node: NodeID?) {
    let node = try session.one(
      """
      UPDATE nodes SET assignment_revision = assignment_revision + 1
       WHERE id = (SELECT node_id FROM claims WHERE vm_id = \(id) AND purpose = 'run')
      RETURNING id, assignment_revision
      """)
    let revision = try node?.get(1, as: Int.self) ?? 0
    let generation = try session.one(
      """
      UPDATE vms SET desired_power = coalesce(\(power), desired_power),
                     stop_grace_seconds = coalesce(\(graceSeconds), stop_grace_seconds),
                     deleted_at = CASE WHEN \(deleted)::boolean THEN coalesce(deleted_at, aloft_now()) ELSE deleted_at END,
                     generation = generation + 1, assignment_revision = \(revision),
                     revision = revision + 1, updated_at = aloft_now()
       WHERE id = \(id)
      RETURNING generation
      """)?.get(0, as: Int.self)
    return (generation ?? 0, try node?.get(0))
  }

  /// Makes the deletion of a VM its intent, and of the volumes that go with it.
  static func delete(_ id: VMID, in session: Session) throws -> (generation: Int, node: NodeID?) {
    try VolumeStore.release(of: id, in: session)
    return try intend(id, deleted: true, in: session)
  }

  /// The statement that appends `vm.state_changed`; nil if users see no other state now.
  static func tellingStateChange(of vm: VMRecord, from before: VMFacts, to after: VMFacts) -> SQL? {
    let was = VMDerivedState.of(before)
    let now = VMDerivedState.of(after)
    if was.state == now.state { return nil }
    var data = ["from": was.state.rawValue, "to": now.state.rawValue]
    data["reason"] = now.reason
    return EventStore.appending(.vmStateChanged, project: vm.projectID, resource: vm.id.uuid, data: data)
  }

  /// Adds a one-time request for the agent.
  static func request(_ id: VMRequestID, _ kind: Assignment.Request.Kind, vm: VMID, in session: Session) throws {
    _ = try session.execute("INSERT INTO vm_requests (id, vm_id, kind) VALUES (\(id), \(vm), \(kind))")
  }

  /// Takes back requests that no agent has carried out, and puts the document without them in front of the node's agent.
  /// The generation stays: nobody asked for anything new. Returns those that were still there, and the node.
  static func withdraw(_ requests: [UUID], vm: VMID, in session: Session) throws -> (gone: Set<UUID>, node: NodeID?) {
    let gone = try session.query("DELETE FROM vm_requests WHERE vm_id = \(vm) AND id = ANY(\(requests)) RETURNING id")
      .map { try $0.get(0, as: UUID.self) }
    if gone.isEmpty { return ([], nil) }
    let node = try session.one(
      """
      UPDATE nodes SET assignment_revision = assignment_revision + 1
       WHERE id = (SELECT node_id FROM claims WHERE vm_id = \(vm) AND purpose = 'run')
      RETURNING id, assignment_revision
      """)
    if let revision = try node?.get(1, as: Int.self) {
      _ = try session.execute("UPDATE vms SET assignment_revision = \(revision) WHERE id = \(vm)")
    }
    return (Set(gone), try node?.get(0))
  }

  /// Removes every trace of a VM, its claim first. Its operations stay: they tell what happened.
  static func purge(_ id: UUID, in session: Session) throws {
    // Its snapshots forget it below; they are to be locked before the node, which the claim's end changes.
    _ = try session.execute("SELECT 1 FROM snapshots WHERE vm_id = \(id) ORDER BY id FOR NO KEY UPDATE")
    _ = try session.execute("DELETE FROM claims WHERE vm_id = \(id)")
    _ = try session.execute("DELETE FROM vms WHERE id = \(id)")
  }
}
