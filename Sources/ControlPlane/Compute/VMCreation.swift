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
  /// What its boot disk is, or was, made from.
  var image: ImageID?
  /// Of the image, and so of the node; nil: any.
  var architecture: String?
  /// The boot disk that is made for it; nil: it boots from one of `plugged`.
  var bootDisk: BootDisk?
  /// Volumes that there are, which it gets.
  var plugged: [PluggedVolume] = []
  var vcpus: Int
  var memoryMiB: Int
  var hostname: String
  var sshKeys: [String]
  var userData: String
  /// A JSON object.
  var nodeSelector: String
  var accelerator: AcceleratorChoice
  var power: Power
  /// In the order in which the guest is to see them.
  var nics: [NICCreation] = []

  /// A boot disk that is made with the VM.
  struct BootDisk: Sendable {
    var volume: VolumeID
    var pool: StoragePoolID
    /// It is in the pool that every node has, whose room placement knows.
    var isLocal: Bool
    /// It is in a pool that nodes share.
    var isShared: Bool
    var sizeGiB: Int
    /// It is encrypted if there is one.
    var sealedKey: [UInt8]?
    /// The nodes with room for it, if it is in another pool.
    var places: Set<UUID>?
  }

  /// Where the volumes can be used that it gets.
  var volumePlaces: NodeInventory.VolumePlaces {
    NodeInventory.VolumePlaces(
      nodes: Set(plugged.compactMap { $0.node?.uuid }), pools: Set(plugged.compactMap { $0.pool?.uuid }))
  }

  /// What is taken of the room that placement knows.
  var localGiB: Int { bootDisk.map { $0.isLocal ? $0.sizeGiB : 0 } ?? 0 }

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
           AND (\(localGiB)::bigint = 0 OR disk_gib_claimed + \(localGiB)::bigint <= disk_gib_limit)
        RETURNING id, name, accelerator, assignment_revision,
                  coalesce((SELECT l.expires_at > aloft_now() FROM node_leases l WHERE l.node_id = n.id), true) AS alive
      )\(fragment: placeLock), vm AS (
        INSERT INTO vms (id, project_id, name, labels, image_id, vcpus, memory_mib, hostname, ssh_keys, user_data,
                         node_selector, accelerator, desired_power, assignment_revision)
        SELECT \(id), \(project), \(name), \(JSONText(labels))::jsonb, \(image), \(vcpus), \(memoryMiB), \(hostname),
               \(sshKeys), \(userData), \(JSONText(nodeSelector))::jsonb, \(accelerator), \(power), node.assignment_revision
          FROM node \(fragment: placeCondition)
        RETURNING *
      ), claim AS (
        INSERT INTO claims (vm_id, incarnation, node_id, vcpus, memory_mib)
        SELECT vm.id, vm.incarnation, node.id, \(vcpus), \(memoryMiB) FROM vm, node
      ), volume AS (
        INSERT INTO volumes (id, project_id, name, pool_id, node_id, size_gib, image_id, vm_id, position, boot_index,
                             delete_with_vm, usage_slot, assignment_revision, encrypted, sealed_key)
        SELECT b.id, vm.project_id, \(fragment: volumeName), b.pool_id, node.id, b.size_gib, vm.image_id, vm.id, 0, 1,
               true, aloft_usage_slot(vm.id), node.assignment_revision, b.sealed_key IS NOT NULL, b.sealed_key
          FROM vm, node, (SELECT \(bootDisk?.volume)::uuid, \(bootDisk?.pool)::uuid, \(bootDisk?.sizeGiB)::bigint,
                                 \(bootDisk?.sealedKey)::bytea)
               b (id, pool_id, size_gib, sealed_key)
         WHERE b.id IS NOT NULL
        RETURNING *
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
        SELECT 'volume.created', project_id, id, jsonb_build_object('name', name) FROM volume
        UNION ALL
        SELECT 'operation.accepted', \(project)::uuid, \(operation)::uuid, jsonb_build_object('kind', 'vm.create') FROM vm
      ), work AS (
        INSERT INTO work (kind, id, due_at)
        SELECT 'vm', vm.id, aloft_now() + make_interval(secs => \(seconds)) FROM vm
      ), \(fragment: parts.audit(resource: "vm.id", project: "vm.project_id", from: "vm"))
      SELECT \(fragment: VMRecord.columns(disks: "(SELECT json_agg(\(fragment: VMDisk.element)) FROM volume d)"))
        FROM vm v, node n, operation p LEFT JOIN vm_observations o ON false
      """
  }

  /// Locks the place of a boot disk that is not in the pool of all nodes, behind the node and before what the project uses: the trigger
  /// on `vms` counts in that before the one on `volumes` takes the room.
  private var placeLock: SQL {
    guard let bootDisk, !bootDisk.isLocal else { return "" }
    let whole: SQL = bootDisk.isShared ? "AND p.problem IS NULL FOR NO KEY UPDATE OF s" : "FOR UPDATE OF p"
    return """
      , place AS (
        SELECT p.pool_id FROM node JOIN storage_places p ON p.node_id = node.id JOIN storage_pools s ON s.id = p.pool_id
         WHERE p.pool_id = \(bootDisk.pool) \(fragment: whole))
      """
  }

  private var placeCondition: SQL {
    bootDisk?.isLocal == false ? "WHERE EXISTS (SELECT 1 FROM place)" : ""
  }

  /// The boot disk's: the VM's name with `-boot`, or, where another volume has that, with a part of its id.
  private var volumeName: SQL {
    let plain = name.prefix(58) + "-boot"
    let other = name.prefix(50) + "-" + (bootDisk?.volume.description ?? "").suffix(12)
    return """
      CASE WHEN EXISTS (SELECT 1 FROM volumes t
                         WHERE t.project_id = \(project) AND t.name = \(String(plain)) AND t.deleted_at IS NULL)
           THEN \(String(other))::text ELSE \(String(plain))::text END
      """
  }

  /// What writes the NICs of the VM that the statement has made and gives it its volumes, and reads it with them; nil when it has none.
  var plugging: (@Sendable (Session) throws -> Row?)? {
    if nics.isEmpty, plugged.isEmpty { return nil }
    return { [id, project, nics, plugged] session in
      for volume in plugged { try volume.plug(into: id, project: project, in: session) }
      try NICStore.insert(nics, vm: id, project: project, from: 0, in: session)
      return try session.one(
        "SELECT \(fragment: VMRecord.columns) FROM \(fragment: VMRecord.source) WHERE v.id = \(id)")
    }
  }
}
