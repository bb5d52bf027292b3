import AloftModel
import Foundation
import HTTPTypes
import JSON
import Postgres

/// The operations on volumes. Their nodes carry them out.
struct VolumeHandlers: Sendable {
  typealias Store = ResourceStore<VolumeRecord>

  let plane: Plane
  let volumes: Resources<VolumeRecord>

  init(plane: Plane) {
    self.plane = plane
    volumes = Resources(plane)
  }

  func register(in table: inout HandlerTable) {
    table.on("listVolumes", list)
    table.on("getVolume", volumes.get)
    table.on("createVolume", create)
    table.on("updateVolume", update)
    table.on("growVolume", grow)
    table.on("attachVolume", attach)
    table.on("detachVolume", detach)
    table.on("deleteVolume", delete)
    table.on("restoreVolume", restore)
    table.on("moveVolume", move)
  }

  /// How long making, growing or deleting a volume may take: an image may have to come first.
  static let operationSeconds = 1800

  private func list(_ call: Call) async throws -> Reply {
    try await volumes.list(call) { session in
      guard let reference = call.string("vm") else { return "" }
      guard let vm = try VMHandlers.found(reference, call, in: session) else { return " AND false" }
      return " AND r.vm_id = \(vm.id)"
    }
  }

  private struct GrowBody: Decodable { var sizeGib: Int }

  private func grow(_ call: Call) async throws -> Reply {
    let body = try call.decode(GrowBody.self)
    return try await change(call, .growVolume) { volume, session in
      try Self.requireLiving(volume, to: "grow")
      try Self.requireStaying(volume)
      guard body.sizeGib > volume.facts.intent.sizeGiB else {
        throw Problem.field(
          .outOfRange, "/size_gib",
          "volume \(volume.name) has \(volume.facts.intent.sizeGiB) GiB already; a volume never shrinks: say more")
      }
      do {
        return try VolumeStore.intend(volume.id, "size_gib = \(body.sizeGib),", in: session)
      } catch let error as PostgresError {
        throw Self.refusal(of: error, volume.facts.host?.name) ?? error
      }
    }
  }

  private func delete(_ call: Call) async throws -> Reply {
    try await change(call, .deleteVolume) { volume, session in
      if volume.facts.intent.deleted && volume.operation?.kind == .deleteVolume { return nil }
      if let vm = volume.facts.intent.vm {
        throw Problem(.inUse, "volume \(volume.name) is attached to VM \(vm); detach it first")
      }
      let snapshots = try session.someNames(
        """
        SELECT s.name FROM snapshots s JOIN volume_snapshots m ON m.snapshot_id = s.id
         WHERE m.volume_id = \(volume.id) AND NOT s.hidden ORDER BY s.name
        """)
      let clones = try session.someNames(
        """
        SELECT c.name FROM volumes c JOIN snapshots s ON s.id = c.source_snapshot_id
         WHERE s.hidden AND c.source_volume_id = \(volume.id) ORDER BY c.name
        """)
      if let clones {
        throw Problem(.inUse, "volume \(volume.name) is being cloned: \(clones); wait until that is done")
      }
      if let snapshots {
        throw Problem(.inUse, "volume \(volume.name) has snapshots: \(snapshots); delete them first")
      }
      if let images = try ImageCaptureStore.users(of: volume.id, in: session) {
        throw Problem(
          .inUse, "images are being made of volume \(volume.name): \(images); wait until that is done, or cancel it")
      }
      if let backups = try BackupStore.makers(of: volume.id, in: session) {
        throw Problem(
          .inUse, "volume \(volume.name) is being backed up: \(backups); wait until that is done, or delete the backup")
      }
      return try VolumeStore.intend(volume.id, Self.deletion, in: session)
    }
  }

  private static let deletion: SQL = "deleted_at = coalesce(deleted_at, aloft_now()),"

  /// Deletes a volume that no VM has, for whoever empties its project. Returns whose agent is to be woken.
  static func acceptDeletion(
    _ id: VolumeID, project: ProjectID, _ operation: OperationID, author: OperationStore.Author, in session: Session
  ) throws -> NodeID? {
    let intended = try VolumeStore.intend(id, deletion, in: session)
    try OperationStore.accept(
      operation, .deleteVolume, project: project, of: .volume, id.uuid, generation: intended.generation,
      seconds: operationSeconds, author: author, in: session)
    return intended.node
  }

  private struct RestoreBody: Decodable { var backup: String }

  /// How long restoring may take.
  static let restoreSeconds = 24 * 3600

  /// Makes the content of a backup that of a volume that no guest has open.
  private func restore(_ call: Call) async throws -> Reply {
    let body = try call.decode(RestoreBody.self)
    return try await change(call, .restoreVolume, seconds: Self.restoreSeconds) { volume, session in
      try Self.requireLiving(volume, to: "restore")
      try Self.requireStaying(volume)
      let backup = try BackupHandlers.requireWhole(body.backup, call, in: session)
      try BackupHandlers.requireSameKey(backup, volume, plane.sealing, in: session)
      guard volume.facts.wasMade else {
        throw Problem(.wrongState, "volume \(volume.name) is not made yet; wait until it is")
      }
      guard backup.sizeGiB <= volume.facts.intent.sizeGiB else {
        throw Problem.field(
          .outOfRange, "/backup",
          "backup \(backup.name) is of \(backup.sizeGiB) GiB, and volume \(volume.name) has \(volume.facts.intent.sizeGiB); grow it first"
        )
      }
      let busy = try session.one(
        """
        SELECT base_snapshot_id IS NOT NULL OR base_backup_id IS NOT NULL FROM volumes WHERE id = \(volume.id)
        """)
      if try busy?.get(0, as: Bool.self) == true {
        throw Problem(
          .wrongState, "volume \(volume.name) is being put back or restored already; wait until that is done")
      }
      let running = try session.someNames(
        """
        SELECT v.name FROM volumes d JOIN vms v ON v.id = d.vm_id LEFT JOIN vm_observations o ON o.vm_id = v.id
         WHERE d.id = \(volume.id)
           AND (v.desired_power = 'running' OR coalesce(o.power NOT IN ('stopped', 'crashed', 'absent'), false))
         ORDER BY v.name
        """)
      if let running {
        throw Problem(
          .inUse, "volume \(volume.name) is in use by VM \(running); stop that, or detach the volume, first")
      }
      let intended = try VolumeStore.intend(
        volume.id, "epoch = epoch + 1, base_backup_id = \(backup.id), head_id = NULL,", in: session)
      try BackupHandlers.hold(backup.id, in: session)
      return intended
    }
  }

  // MARK: Shared

  /// One verb: lock, decide, write the intent and its operation, wake the agent; then wait if that is preferred. `intend` returns
  /// nil when there is nothing left to ask for.
  private func change(
    _ call: Call, _ kind: OperationKind, seconds: Int = VolumeHandlers.operationSeconds,
    _ intend: @escaping @Sendable (VolumeRecord, Session) throws -> (generation: Int, node: NodeID?)?
  ) async throws -> Reply {
    let operation = OperationID(plane.environment.newUUID())
    let reply = try await plane.change(call) { session in
      let found = try Store.require(call, in: session)
      guard let (volume, _) = try VolumeStore.lock(found.id, in: session) else { throw Store.absent(found.name) }
      try call.requireMatch(volume.etag)
      var wake: Set<Topic> = []
      if let intended = try intend(volume, session) {
        try OperationStore.accept(
          operation, kind, project: volume.project, of: .volume, volume.id.uuid, generation: intended.generation,
          seconds: seconds, author: call.author, in: session)
        wake = [.work, .events]
        if let node = intended.node { wake.insert(.node(node.uuid)) }
      }
      return try accepted(volume.id, call, wake: wake, in: session)
    }
    return await plane.waited(call, reply)
  }

  /// The answer to a change that a node carries out.
  func accepted(_ id: VolumeID, _ call: Call, wake: Set<Topic>, in session: Session) throws -> Changed {
    try answer(id, call.isDryRun ? .ok : .accepted, wake: wake, in: session)
  }

  /// The answer to a change.
  func answer(_ id: VolumeID, _ status: HTTPResponse.Status, wake: Set<Topic>, in session: Session) throws -> Changed {
    guard let volume = try Store.find(id, in: session) else { throw Store.absent("\(id)") }
    return Changed(
      reply: .json(volume, status: status, etag: volume.etag), effects: Effects(wake: wake), resource: id.uuid,
      project: volume.project)
  }

  static func requireLiving(_ volume: VolumeRecord, to verb: String) throws {
    if volume.facts.intent.deleted {
      throw Problem(.wrongState, "volume \(volume.name) is being deleted; it is too late to \(verb) it")
    }
    if volume.facts.isLost {
      throw Problem(.wrongState, "volume \(volume.name) has lost its node and its content; it can only be deleted")
    }
  }

  /// What the caller gets where the server's refusal is the caller's doing.
  static func refusal(of error: PostgresError, _ node: String?) -> Problem? {
    let isShared = error.isCheckViolation("volumes_within_pool")
    guard isShared || error.isCheckViolation("volumes_within_place") else { return nil }
    let place = isShared ? "its pool" : node.map { "node \($0)" } ?? "its place"
    return .field(
      .noCapacity, "/size_gib", "\(place) has no room for that; GET /v1/storage-pools tells how much is left")
  }
}
