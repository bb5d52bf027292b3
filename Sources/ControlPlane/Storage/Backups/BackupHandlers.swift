import AloftModel
import Foundation
import HTTPTypes
import JSON
import Postgres

/// The operations on backups. The nodes of their volumes make them.
struct BackupHandlers: Sendable {
  private typealias Store = ResourceStore<BackupRecord>

  let plane: Plane
  private let backups: Resources<BackupRecord>

  init(plane: Plane) {
    self.plane = plane
    backups = Resources(plane)
  }

  func register(in table: inout HandlerTable) {
    table.on("listBackups", list)
    table.on("getBackup", backups.get)
    table.on("createBackup", create)
    table.on("updateBackup", update)
    table.on("verifyBackup", verify)
    table.on("deleteBackup", delete)
  }

  private func list(_ call: Call) async throws -> Reply {
    try await backups.list(call) { session in
      guard let reference = call.string("volume") else { return "" }
      // Its volume may be gone: then it is found by the id, or by what the volume was called.
      if let id = VolumeID(reference) { return " AND r.volume_id = \(id)" }
      guard let volume = try VolumeHandlers.Store.find(reference, call, in: session) else {
        return " AND r.volume_name = \(reference)"
      }
      return " AND r.volume_id = \(volume.id)"
    }
  }

  private struct CreateBody: Decodable {
    var name: String
    var labels: [String: String]?
    var volume: String
    var full: Bool?
  }

  private func create(_ call: Call) async throws -> Reply {
    let body = try call.decode(CreateBody.self)
    let wish = BackupStore.Wish(
      id: BackupID(plane.environment.newUUID()), snapshot: SnapshotID(plane.environment.newUUID()),
      operation: OperationID(plane.environment.newUUID()), name: body.name, labels: (body.labels ?? [:]).jsonText,
      full: body.full ?? false)
    let reply = try await plane.change(call) { session in
      let found = try VolumeHandlers.Store.require(body.volume, call, at: "/volume", in: session)
      guard let (volume, _) = try VolumeStore.lock(found.id, in: session) else {
        throw Problem.field(.notFound, "/volume", "the volume was deleted a moment ago")
      }
      try Self.requireFit(volume)
      let wake = try BackupStore.begin(
        wish, of: volume, sealing: plane.sealing, author: call.author, in: session)
      var changed = try answer(wish.id, call.isDryRun ? .ok : .accepted, wake: wake, in: session)
      changed.reply.headers[.location] = "/v1/backups/\(wish.id)"
      return changed
    }
    return await plane.waited(call, reply)
  }

  /// Refuses volumes that cannot be backed up, or not now.
  static func requireFit(_ volume: VolumeRecord) throws {
    try VolumeHandlers.requireLiving(volume, to: "back up")
    try VolumeHandlers.requireStaying(volume, at: "/volume")
    guard volume.facts.wasMade else {
      throw Problem.field(.wrongState, "/volume", "volume \(volume.name) is not made yet; wait until it is")
    }
    let most = BackupManifest.mostBytes >> 30
    guard volume.facts.intent.sizeGiB <= most else {
      throw Problem.field(
        .backupUnsupported, "/volume",
        "volume \(volume.name) has \(volume.facts.intent.sizeGiB) GiB; those of up to \(most) GiB are backed up")
    }
  }

  private struct UpdateBody: Decodable {
    var name: String?
    var labels: [String: String]?
  }

  private func update(_ call: Call) async throws -> Reply {
    let body = try call.decode(UpdateBody.self)
    return try await backups.update(call, name: body.name, labels: body.labels)
  }

  /// How long verifying may take.
  private static let verifySeconds = 24 * 3600

  private func verify(_ call: Call) async throws -> Reply {
    let operation = OperationID(plane.environment.newUUID())
    let reply = try await plane.change(call) { session in
      let backup = try Store.lock(call, to: .change, in: session)
      guard backup.state == .available || backup.state == .damaged else {
        throw Problem(.wrongState, "backup \(backup.name) is \(backup.state.rawValue); there is nothing to verify")
      }
      if backup.operation == nil {
        try OperationStore.accept(
          operation, .verifyBackup, project: backup.project, of: .backup, backup.id.uuid, generation: 0,
          seconds: Self.verifySeconds, author: call.author, in: session)
      }
      return try answer(backup.id, call.isDryRun ? .ok : .accepted, wake: [], in: session)
    }
    return await plane.waited(call, reply)
  }

  private func delete(_ call: Call) async throws -> Reply {
    try await plane.change(call) { session in
      let found = try Store.require(call, in: session)
      // Volumes are locked first.
      try VolumeStore.hold([found.volume.uuid], and: nil, in: session)
      guard let backup = try Store.lock(found.id, to: .delete, in: session) else { throw Store.absent(found.name) }
      try call.requireMatch(backup.etag)
      if let users = try BackupStore.users(of: backup.id, in: session) {
        throw Problem(
          .inUse,
          "backup \(backup.name) is being read for \(users); wait until those are restored or backed up")
      }
      var effects = Effects()
      try BackupStore.delete(backup, in: session, &effects)
      return Changed(reply: .noContent, effects: effects, resource: backup.id.uuid, project: backup.project)
    }
  }

  private func answer(
    _ id: BackupID, _ status: HTTPResponse.Status, wake: Set<Topic>, in session: Session
  ) throws -> Changed {
    guard let backup = try Store.find(id, in: session) else { throw Store.absent("\(id)") }
    return Changed(
      reply: .json(backup, status: status, etag: backup.etag),
      effects: Effects(wake: wake.union([.images, .events])), resource: id.uuid, project: backup.project)
  }

  /// Finds a backup that a volume is to be restored from, and keeps it until that is done.
  static func requireWhole(_ reference: String, _ call: Call, in session: Session) throws -> BackupRecord {
    let backup = try Store.require(reference, call, at: "/backup", in: session)
    switch backup.state {
    case .available: return backup
    case .damaged:
      throw Problem.field(
        .backupDamaged, "/backup",
        "\(backup.damagedBytes) bytes of backup \(backup.name) are missing or damaged; restore another one")
    case .creating, .failed:
      throw Problem.field(
        .wrongState, "/backup", "backup \(backup.name) is \(backup.state.rawValue); only one that was made is restored")
    }
  }

  /// Locks it against deletion, in the transaction that refers to it.
  static func hold(_ id: BackupID, in session: Session) throws {
    let living = try session.one(
      "SELECT 1 FROM backups WHERE id = \(id) AND deleted_at IS NULL AND state = 'available' FOR KEY SHARE")
    if living == nil {
      throw Problem.field(.notFound, "/backup", "the backup was deleted, or found to be damaged, a moment ago")
    }
  }
}
