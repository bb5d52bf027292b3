import AloftModel
import Foundation
import Postgres

// A volume goes to another pool of the node that looks after it: that one copies it. Nothing else is done with it meanwhile but deleting
// it, so what there is to copy is one content without a history.

extension VolumeHandlers {
  private struct MoveBody: Decodable { var pool: String }

  func move(_ call: Call) async throws -> Reply {
    let body = try call.decode(MoveBody.self)
    let operation = OperationID(plane.environment.newUUID())
    let reply = try await plane.change(call) { session in
      let found = try Store.require(call, in: session)
      // VMs are locked before volumes: where one is placed depends on the pools of its volumes.
      let vm = try found.vmID.flatMap { try VMStore.lock($0, in: session) }
      guard let (volume, _) = try VolumeStore.lock(found.id, in: session) else { throw Store.absent(found.name) }
      try call.requireMatch(volume.etag)
      try Self.requireMovable(volume, vm, in: session)
      let pool = try ResourceStore<StoragePoolRecord>.require(body.pool, call, at: "/pool", in: session)
      try Self.requireTarget(pool, of: volume, in: session)
      let intended: (generation: Int, node: NodeID?)
      do {
        intended = try VolumeStore.intend(volume.id, VolumeStore.moving(to: pool.id), in: session)
      } catch let error as PostgresError {
        throw Self.refusal(of: error, volume, pool) ?? error
      }
      // What the next backup would be compared with stays behind.
      try session.execute(
        "UPDATE backups SET keeps_snapshot = false WHERE volume_id = \(volume.id) AND keeps_snapshot")
      try OperationStore.accept(
        operation, .moveVolume, project: volume.project, of: .volume, volume.id.uuid, generation: intended.generation,
        seconds: VolumeMove.seconds, author: call.author, in: session)
      try EventStore.append(
        .volumeUpdated, project: volume.project, resource: volume.id.uuid, data: ["name": volume.name], in: session)
      var wake: Set<Topic> = [.work, .events]
      if let node = intended.node { wake.insert(.node(node.uuid)) }
      return try accepted(volume.id, call, wake: wake, in: session)
    }
    return await plane.waited(call, reply)
  }

  /// Refuses what a volume that is being moved cannot have done to it.
  static func requireStaying(_ volume: VolumeRecord, at pointer: String? = nil) throws {
    guard let move = volume.facts.move else { return }
    let detail =
      move.problem == nil
      ? "volume \(volume.name) is being moved to pool \(move.target); wait until it is there"
      : "the move of volume \(volume.name) to pool \(move.target) is being cleared away; try again in a moment"
    throw pointer.map { Problem.field(.wrongState, $0, detail) } ?? Problem(.wrongState, detail)
  }

  /// Refuses volumes that are not at rest but for what a guest writes, and those that have a history.
  private static func requireMovable(_ volume: VolumeRecord, _ vm: VMRecord?, in session: Session) throws {
    try requireLiving(volume, to: "move")
    try requireStaying(volume)
    let name = "volume \(volume.name)"
    guard volume.vmID == vm?.id, !volume.isDetaching else {
      throw Problem(.wrongState, "\(name) is being attached or detached; wait until that is done")
    }
    guard volume.facts.wasMade else { throw Problem(.wrongState, "\(name) is not made yet; wait until it is") }
    if let next = volume.facts.next {
      throw Problem(.wrongState, "\(name) is being handed over to node \(next); wait until that is done")
    }
    guard volume.nodeID != nil, volume.facts.host != nil else {
      throw Problem(.wrongState, "no node looks after \(name) now; wait until one does")
    }
    if let vm {
      try VMHandlers.requireLiving(vm, to: "move a volume of")
      guard vm.nodeID == volume.nodeID else {
        throw Problem(.wrongState, "VM \(vm.name), which has \(name), is on no node or on another one; start it first")
      }
    }
    let busy = try session.one(
      "SELECT base_snapshot_id IS NOT NULL OR base_backup_id IS NOT NULL FROM volumes WHERE id = \(volume.id)")
    if try busy?.get(0, as: Bool.self) == true {
      throw Problem(.wrongState, "\(name) is being put back or restored; wait until that is done")
    }
    try requireUnread(volume, name, in: session)
  }

  private static func requireUnread(_ volume: VolumeRecord, _ name: String, in session: Session) throws {
    let clones = try session.someNames(
      """
      SELECT c.name FROM volumes c JOIN snapshots s ON s.id = c.source_snapshot_id
       WHERE s.hidden AND c.source_volume_id = \(volume.id) ORDER BY c.name
      """)
    if let clones { throw Problem(.inUse, "\(name) is being cloned: \(clones); wait until that is done") }
    let snapshots = try session.someNames(
      """
      SELECT s.name FROM snapshots s JOIN volume_snapshots m ON m.snapshot_id = s.id
       WHERE m.volume_id = \(volume.id) AND NOT s.hidden ORDER BY s.name
      """)
    if let snapshots {
      throw Problem(
        .inUse, "\(name) has snapshots: \(snapshots); delete them first")
    }
    if let images = try ImageCaptureStore.users(of: volume.id, in: session) {
      throw Problem(.inUse, "images are being made of \(name): \(images); wait until that is done, or cancel it")
    }
    if let backups = try BackupStore.makers(of: volume.id, in: session) {
      throw Problem(
        .inUse, "\(name) is being backed up: \(backups); wait until that is done, or delete the backup")
    }
  }

  /// Refuses pools that cannot take a volume.
  private static func requireTarget(_ pool: StoragePoolRecord, of volume: VolumeRecord, in session: Session) throws {
    guard pool.id != volume.pool.id else {
      throw Problem.field(
        .wrongState, "/pool", "volume \(volume.name) is in pool \(pool.name) already; name another one")
    }
    if volume.isEncrypted { try requireEncryptable(pool, at: "/pool") }
    guard pool.name != StoragePoolRecord.localName, let node = volume.nodeID, let host = volume.facts.host else {
      return
    }
    if let why = try StoragePlaces.whyNot(node, pool.id, in: session) {
      throw Problem.field(
        .wrongState, "/pool",
        "node \(host.name), which looks after volume \(volume.name), does not reach pool \(pool.name): \(why)")
    }
  }

  private static func refusal(of error: PostgresError, _ volume: VolumeRecord, _ pool: StoragePoolRecord) -> Problem? {
    guard error.isCheckViolation("volumes_within_pool") || error.isCheckViolation("volumes_within_place") else {
      return nil
    }
    let place = pool.kind.isShared ? "" : " on node \(volume.facts.host?.name ?? "")"
    return .field(
      .noCapacity, "/pool",
      "pool \(pool.name)\(place) has no room for \(volume.facts.intent.sizeGiB) GiB; GET /v1/storage-pools tells how much is left"
    )
  }
}
