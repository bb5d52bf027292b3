import AloftModel
import Foundation
import JSON
import Postgres

/// A backup as the API shows it.
struct BackupRecord: Resource {
  typealias Kind = BackupKind

  static let noun = Noun(
    word: "backup", path: "backups", table: "backups", uniqueName: "backups_name", created: .backupCreated,
    updated: .backupUpdated, deleted: .backupDeleted)

  var id: BackupID
  var project: ProjectID
  var name: String
  /// A JSON object, passed through.
  var labels: String
  var volume: VolumeID
  /// What the volume was called.
  var volumeName: String
  var sizeGiB: Int
  var chunkBytes: Int
  var state: BackupState
  /// What it is read from.
  var snapshot: SnapshotID
  var takenAt: Date?
  var quiesced: Bool?
  /// The backup whose chunks this one may name, while it is made.
  var earlier: BackupID?
  var isIncremental: Bool
  var reading: BackupReading?
  var readBytes: Int?
  var chunks: Int?
  var manifestSHA256: String?
  var storedBytes: Int
  var damagedBytes: Int
  var verifiedAt: Date?
  var failure: String?
  var isDeleted: Bool
  /// The volume's schedule has made it.
  var isScheduled: Bool
  /// Its chunks are sealed with the volume's key.
  var isEncrypted: Bool
  var revision: Int
  var createdAt: Date
  var updatedAt: Date
  /// The newest one that has not ended; in the answer to a change, that change's.
  var operation: OperationRecord?

  var projectID: ProjectID? { project }
  /// There is something to restore.
  var isWhole: Bool { state == .available && !isDeleted }
  /// How long what is kept of a chunk is at most.
  var mostChunkBytes: Int { chunkBytes + (isEncrypted ? BackupManifest.sealBytes : 0) }

  static let columns: SQL = """
    r.id, r.project_id, r.name, r.labels, r.volume_id, r.volume_name, r.size_gib, r.chunk_bytes, r.state, r.snapshot_id,
    r.taken_at, r.quiesced, r.earlier_id, r.is_incremental, r.reading, r.read_bytes, r.chunks, r.manifest_sha256,
    r.stored_bytes, r.damaged_bytes, r.verified_at, r.failure, r.deleted_at IS NOT NULL, r.revision, r.created_at,
    r.updated_at, r.scheduled, r.encrypted, \(fragment: OperationRecord.columns)
    """

  static let restriction: SQL = " AND r.deleted_at IS NULL"

  static let joins: SQL = """
    LEFT JOIN LATERAL (
      SELECT * FROM operations p WHERE p.finished_at IS NULL AND p.resource_id = r.id ORDER BY p.id DESC LIMIT 1) p ON true
    """

  init(_ row: Row) throws {
    id = try row.get(0)
    project = try row.get(1)
    name = try row.get(2)
    labels = try row.get(3, as: JSONText.self).text
    volume = try row.get(4)
    volumeName = try row.get(5)
    sizeGiB = try row.get(6)
    chunkBytes = try row.get(7)
    state = try row.get(8)
    snapshot = try row.get(9)
    takenAt = try row.get(10)
    quiesced = try row.get(11)
    earlier = try row.get(12)
    isIncremental = try row.get(13)
    reading = try row.get(14)
    readBytes = try row.get(15)
    chunks = try row.get(16)
    manifestSHA256 = try row.get(17)
    storedBytes = try row.get(18)
    damagedBytes = try row.get(19)
    verifiedAt = try row.get(20)
    failure = try row.get(21)
    isDeleted = try row.get(22)
    revision = try row.get(23)
    createdAt = try row.get(24)
    updatedAt = try row.get(25)
    isScheduled = try row.get(26)
    isEncrypted = try row.get(27)
    operation = try OperationRecord(row, from: 28)
  }

  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("id", id)
      writer.field("name", name)
      writer.field("project_id", project)
      writer.field("state", state)
      writer.field("reason", failure ?? operation?.waitingFor)
      writer.field("volume_id", volume)
      writer.field("volume_name", volumeName)
      writer.field("size_gib", sizeGiB)
      writer.field("kind", reading)
      writer.field("read_bytes", readBytes)
      writer.field("stored_bytes", storedBytes)
      writer.field("scheduled", isScheduled)
      writer.field("encrypted", isEncrypted)
      writer.field("taken_at", takenAt)
      writer.field("quiesced", quiesced)
      writer.field("verified_at", verifiedAt)
      writer.field("damaged_bytes", damagedBytes)
      writer.key("labels")
      writer.raw(labels)
      writer.field("operation", operation)
      writer.field("created_at", createdAt)
      writer.field("updated_at", updatedAt)
    }
  }
}
