import AloftModel
import Foundation
import JSON
import Postgres

/// A VM as the API shows it, read with all that its state is derived from.
struct VMRecord: Sendable {
  var id: VMID
  var projectID: ProjectID
  var name: String
  /// A JSON object, passed through as PostgreSQL holds it.
  var labels: String
  /// What its boot disk was made from.
  var imageID: ImageID?
  var vcpus: Int
  var memoryMiB: Int
  var hostname: String
  var revision: Int
  var createdAt: Date
  var updatedAt: Date
  var nodeID: NodeID?
  var accelerator: Accelerator?
  var facts: VMFacts
  var operation: OperationRecord?
  /// In the order in which the guest sees them, those that it is to let go of too.
  var nics: [VMNIC]
  /// In the order in which it got them, those that it is to let go of too.
  var disks: [VMDisk]

  /// What it boots from; nil when it has nothing to boot from.
  var bootDisk: VMDisk? {
    disks.filter { !$0.isLeaving && $0.bootIndex != nil }.min { ($0.bootIndex ?? .max) < ($1.bootIndex ?? .max) }
  }

  /// Names the version of what was asked for; observation does not change it.
  var etag: String { "\"\(revision)\"" }

  /// What ``init(_:)`` reads, in its order.
  static let columns = columns(disks: VMDisk.column)

  /// The same, of a VM whose volumes come from elsewhere.
  static func columns(disks: SQL) -> SQL {
    """
    v.id, v.project_id, v.name, v.labels, v.image_id, v.vcpus, v.memory_mib, o.disks, v.hostname, v.revision,
    v.created_at, v.updated_at, v.desired_power, v.deleted_at IS NOT NULL, v.incarnation, v.generation,
    n.id, n.name, n.accelerator, n.alive,
    o.incarnation, o.generation, o.power, o.guest_stopped, o.activity, o.progress, o.problem_code, o.problem_detail,
    (SELECT array_agg(r.id) FROM vm_requests r WHERE r.vm_id = v.id),
    p.id, p.kind, p.status, p.project_id, p.resource_id, p.waiting_for, p.progress, p.error_code, p.error_detail,
    p.created_at, p.finished_at, p.deadline, o.nics, \(fragment: VMNIC.column), \(fragment: disks),
    o.stale_disks
    """
  }

  /// Where the columns come from. LATERAL with LIMIT, because PostgreSQL would merge plain joins, and read the tables from
  /// their beginning to the page that is wanted. The newest operation is that of the newest generation, which is counted
  /// under the VM's lock: ids follow the clocks of the replicas that drew them.
  static let source: SQL = "vms v \(fragment: joins)"

  /// All of ``source`` behind `vms v`.
  static let joins: SQL = """
    LEFT JOIN LATERAL (
      SELECT n.id, n.name, n.accelerator, coalesce(l.expires_at > aloft_now(), true) AS alive
        FROM claims c JOIN nodes n ON n.id = c.node_id LEFT JOIN node_leases l ON l.node_id = n.id
       WHERE c.vm_id = v.id AND c.purpose = 'run' LIMIT 1) n ON true
    LEFT JOIN LATERAL (SELECT * FROM vm_observations o WHERE o.vm_id = v.id LIMIT 1) o ON true
    LEFT JOIN LATERAL (
      SELECT * FROM operations p WHERE p.resource_id = v.id AND p.finished_at IS NULL
       ORDER BY p.generation DESC, p.id DESC LIMIT 1) p ON true
    """

  init(_ row: Row) throws {
    id = try row.get(0)
    projectID = try row.get(1)
    name = try row.get(2)
    labels = try row.get(3, as: JSONText.self).text
    imageID = try row.get(4)
    vcpus = try row.get(5)
    memoryMiB = try row.get(6)
    hostname = try row.get(8)
    revision = try row.get(9)
    createdAt = try row.get(10)
    updatedAt = try row.get(11)
    let intent = VMIntent(
      desiredPower: try row.get(12), deleted: try row.get(13), incarnation: try row.get(14), generation: try row.get(15)
    )
    nodeID = try row.get(16)
    var host: VMHost?
    if let nodeName = try row.get(17, as: String?.self) { host = VMHost(name: nodeName, alive: try row.get(19)) }
    accelerator = try row.get(18)
    let requests = try row.get(28, as: [UUID]?.self) ?? []
    nics = try VMNIC.list(row, at: 42)
    var observed = try VMObserved(row, from: 20)
    observed?.nics = try row.get(41, as: [UUID]?.self).map { Set($0) }
    disks = try VMDisk.list(row, at: 43)
    observed?.disks = try row.get(7, as: [UUID]?.self).map { Set($0) }
    observed?.staleDisks = Set(try row.get(44, as: [UUID]?.self) ?? [])
    facts = VMFacts(
      intent: intent, observed: observed, host: host, pendingRequests: Set(requests),
      nics: Set(nics.filter { !$0.isLeaving }.map(\.id.uuid)),
      leavingNICs: Set(nics.filter(\.isLeaving).map(\.id.uuid)),
      disks: Set(disks.filter { !$0.isLeaving && !$0.isDeleted }.map(\.volume.uuid)),
      leavingDisks: Set(disks.filter { $0.isLeaving || $0.isDeleted }.map(\.volume.uuid)))
    operation = try OperationRecord(row, from: 29)
  }
}

extension VMObserved {
  /// Reads the eight columns of an observation; nil when there is none.
  init?(_ row: Row, from first: Int) throws {
    guard let incarnation = try row.get(first, as: Int?.self) else { return nil }
    let code = try row.get(first + 6, as: OperationFailure?.self)
    self.init(
      incarnation: incarnation, generation: try row.get(first + 1), power: try row.get(first + 2),
      guestStopped: try row.get(first + 3), activity: try row.get(first + 4), progress: try row.get(first + 5),
      problem: try code.map { Observation.Problem(code: $0, detail: try row.get(first + 7)) })
  }
}

extension VMRecord: JSONWritable {
  func write(to writer: inout JSONWriter) {
    let derived = VMDerivedState.of(facts)
    writer.object { writer in
      writer.field("id", id)
      writer.field("name", name)
      writer.field("project_id", projectID)
      writer.field("state", derived.state)
      writer.field("reason", derived.reason)
      writer.field("desired_power", facts.intent.desiredPower)
      writer.field("vcpus", vcpus)
      writer.field("memory_mib", memoryMiB)
      writer.field("disk_gib", bootDisk?.sizeGiB)
      writer.field("image_id", imageID)
      writer.field("hostname", hostname)
      writer.key("labels")
      writer.raw(labels)
      writer.field("nics", nics.filter { !$0.isLeaving })
      writer.field("volumes", disks.filter { !$0.isLeaving })
      writer.field("node", facts.host?.name)
      writer.field("incarnation", facts.intent.incarnation)
      writer.field("generation", facts.intent.generation)
      writer.field("accelerator", accelerator)
      writer.field("operation", operation)
      writer.field("created_at", createdAt)
      writer.field("updated_at", updatedAt)
    }
  }
}
