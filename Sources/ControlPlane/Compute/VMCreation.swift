import AloftModel
import Foundation
import Postgres

/// What a create asks for, with every default filled in.
struct VMCreation: Sendable {
  var id: VMID
  var project: ProjectID
  var name: String
  /// A JSON object.
  var labels: String
  var image: ImageID
  var vcpus: Int
  var memoryMiB: Int
  var diskGiB: Int
  var hostname: String
  var sshKeys: [String]
  var userData: String
  /// A JSON object.
  var nodeSelector: String
  var accelerator: AcceleratorChoice
  var power: Power
  /// In the order in which the guest is to see them.
  var nics: [NICCreation] = []

  /// How long a VM may take to be created, which includes the download of its image.
  static let operationSeconds = 1800

  /// Takes the node's room and writes the VM, its claim, operation, event and work, and what `parts` adds: one statement, one
  /// round trip. Gives the columns of a ``VMRecord``, or no row when the node no longer takes it.
  ///
  /// The node's row is locked first and its room checked on the locked version, so that no two transactions can take the
  /// same room; the trigger on `claims` moves the sums. A statement does not see its own rows: the answer is made of what
  /// its parts return.
  func statement(on node: NodeID, operation: OperationID, call: Call, _ parts: AcceptedParts) -> SQL {
    let seconds = Double(Self.operationSeconds)
    return """
      WITH \(fragment: parts.key), node AS (
        UPDATE nodes n SET assignment_revision = assignment_revision + 1
         WHERE id = \(node) AND schedulable AND EXISTS (SELECT 1 FROM \(fragment: AcceptedParts.keyName))
           AND vcpus_claimed + \(vcpus)::bigint <= vcpus_limit
           AND memory_mib_claimed + \(memoryMiB)::bigint <= memory_mib_limit
           AND disk_gib_claimed + \(diskGiB)::bigint <= disk_gib_limit
        RETURNING id, name, accelerator, assignment_revision,
                  coalesce((SELECT l.expires_at > aloft_now() FROM node_leases l WHERE l.node_id = n.id), true) AS alive
      ), vm AS (
        INSERT INTO vms (id, project_id, name, labels, image_id, vcpus, memory_mib, disk_gib, hostname, ssh_keys, user_data,
                         node_selector, accelerator, desired_power, assignment_revision)
        SELECT \(id), \(project), \(name), \(JSONText(labels))::jsonb, \(image), \(vcpus), \(memoryMiB), \(diskGiB), \(hostname),
               \(sshKeys), \(userData), \(JSONText(nodeSelector))::jsonb, \(accelerator), \(power), node.assignment_revision
          FROM node
        RETURNING *
      ), claim AS (
        INSERT INTO claims (vm_id, incarnation, node_id, vcpus, memory_mib, disk_gib)
        SELECT vm.id, vm.incarnation, node.id, \(vcpus), \(memoryMiB), \(diskGiB) FROM vm, node
      ), operation AS (
        INSERT INTO operations (id, project_id, kind, resource_id, generation, actor, request_id, deadline)
        SELECT \(operation), \(project), 'vm.create', vm.id, vm.generation, \(call.principal.name), \(call.requestID),
               aloft_now() + make_interval(secs => \(seconds))
          FROM vm
        RETURNING *
      ), event AS (
        INSERT INTO events (kind, project_id, resource_id, data)
        SELECT 'vm.created', \(project)::uuid, vm.id, jsonb_build_object('name', \(name)::text) FROM vm
        UNION ALL
        SELECT 'operation.accepted', \(project)::uuid, \(operation)::uuid, jsonb_build_object('kind', 'vm.create') FROM vm
      ), work AS (
        INSERT INTO work (kind, id, due_at)
        SELECT 'vm', vm.id, aloft_now() + make_interval(secs => \(seconds)) FROM vm
      ), \(fragment: parts.audit(resource: "vm.id", project: "vm.project_id", from: "vm"))
      SELECT \(fragment: VMRecord.columns)
        FROM vm v, node n, operation p LEFT JOIN vm_observations o ON false
      """
  }

  /// What writes the NICs of the VM that the statement has made, and reads it with them; nil when it has none.
  var plugging: (@Sendable (Session) throws -> Row?)? {
    if nics.isEmpty { return nil }
    return { [id, project, nics] session in
      try NICStore.insert(nics, vm: id, project: project, from: 0, in: session)
      return try session.one(
        "SELECT \(fragment: VMRecord.columns) FROM \(fragment: VMRecord.source) WHERE v.id = \(id)")
    }
  }
}
