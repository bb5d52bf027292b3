import AloftModel
import Foundation
import Postgres

/// A content that is coming in.
struct ImageUploadRecord: Sendable {
  var content: UUID
  /// How the store goes on with it.
  var state: String
  /// How many bytes the store has.
  var durable: Int
  /// How many it is to have, where the sender has said so.
  var size: Int?
  /// What all bytes hash to, when they are there.
  var sha256: String?

  static let columns: SQL = "content, state, durable_bytes, size_bytes, sha256"

  init(_ row: Row) throws {
    content = try row.get(0)
    state = try row.get(1)
    durable = try row.get(2)
    size = try row.get(3)
    sha256 = try row.get(4)
  }
}

/// The rows of `image_uploads`.
///
/// Invariants:
/// - Only who holds the lease writes to an upload. Each write renews it; one that ended is found out by the next write.
/// - What is durable is counted in the image's row in the same transaction, where the quota is judged.
enum ImageUploadStore {
  /// A writer that died frees the upload so soon.
  static let leaseSeconds = 8.0
  /// For how long what is there of an upload is kept.
  static let keptDays = 7

  static func find(_ image: ImageID, in session: Session) throws -> ImageUploadRecord? {
    try session.one(
      "SELECT \(fragment: ImageUploadRecord.columns) FROM image_uploads WHERE image_id = \(image)"
    ).map { try ImageUploadRecord($0) }
  }

  /// Takes the lease. Nil when nothing has been sent yet. Throws ``Problem/uploadInUse``. The image is locked.
  static func claim(_ image: ImageID, for writer: UUID, in session: Session) throws -> ImageUploadRecord? {
    let row = try session.one(
      """
      UPDATE image_uploads SET writer = \(writer), writer_until = aloft_now() + make_interval(secs => \(leaseSeconds))
       WHERE image_id = \(image) AND (writer IS NULL OR writer = \(writer) OR writer_until < aloft_now())
      RETURNING \(fragment: ImageUploadRecord.columns)
      """)
    if let row { return try ImageUploadRecord(row) }
    if try find(image, in: session) != nil { throw Problem.uploadInUse }
    return nil
  }

  /// Begins anew, with the lease. What there was of an earlier upload is the caller's to discard. The image is locked.
  static func begin(
    _ image: ImageID, content: UUID, state: String, size: Int?, writer: UUID, in session: Session
  ) throws {
    try session.execute(
      """
      INSERT INTO image_uploads (image_id, content, state, size_bytes, writer, writer_until)
      VALUES (\(image), \(content), \(state), \(size), \(writer), aloft_now() + make_interval(secs => \(leaseSeconds)))
      ON CONFLICT (image_id) DO UPDATE
        SET content = excluded.content, state = excluded.state, size_bytes = excluded.size_bytes, durable_bytes = 0,
            sha256 = NULL, writer = excluded.writer, writer_until = excluded.writer_until, updated_at = aloft_now()
      """)
    try session.execute("UPDATE images SET stored_bytes = 0 WHERE id = \(image)")
  }

  /// Writes how far it is, and renews the lease. Throws ``Problem/uploadInUse`` when that has gone to somebody else, the refusal
  /// of the quota when the project may not have so much.
  static func save(
    _ image: ImageID, _ record: ImageUploadRecord, writer: UUID, in session: Session
  ) throws {
    try session.execute(
      "UPDATE images SET stored_bytes = \(record.durable) WHERE id = \(image) AND stored_bytes <> \(record.durable)")
    let count = try session.execute(
      """
      UPDATE image_uploads SET state = \(record.state), durable_bytes = \(record.durable), size_bytes = \(record.size),
                               sha256 = \(record.sha256), updated_at = aloft_now(),
                               writer_until = aloft_now() + make_interval(secs => \(leaseSeconds))
       WHERE image_id = \(image) AND content = \(record.content) AND writer = \(writer)
      """)
    guard count == 1 else { throw Problem.uploadInUse }
  }

  /// Keeps the lease while something else than writing goes on.
  static func renew(_ image: ImageID, writer: UUID, in session: Session) throws {
    try session.execute(
      """
      UPDATE image_uploads SET writer_until = aloft_now() + make_interval(secs => \(leaseSeconds))
       WHERE image_id = \(image) AND writer = \(writer)
      """)
  }

  static func release(_ image: ImageID, writer: UUID, in session: Session) throws {
    try session.execute(
      "UPDATE image_uploads SET writer = NULL, writer_until = NULL WHERE image_id = \(image) AND writer = \(writer)")
  }

  /// Forgets the upload: nothing of it is wanted any more. Returns what there was.
  @discardableResult
  static func end(_ image: ImageID, writer: UUID, in session: Session) throws -> ImageUploadRecord? {
    let row = try session.one(
      """
      DELETE FROM image_uploads WHERE image_id = \(image) AND writer = \(writer)
      RETURNING \(fragment: ImageUploadRecord.columns)
      """)
    if row != nil {
      try session.execute("UPDATE images SET stored_bytes = coalesce(size_bytes, 0) WHERE id = \(image)")
    }
    return try row.map { try ImageUploadRecord($0) }
  }

  /// Removes uploads that nobody has gone on with for ``keptDays``, and returns them.
  static func expire(atMost limit: Int, in session: Session) throws -> [ImageUploadRecord] {
    let rows = try session.query(
      """
      DELETE FROM image_uploads WHERE image_id IN (
        SELECT image_id FROM image_uploads
         WHERE updated_at < aloft_now() - make_interval(days => \(keptDays))
           AND (writer IS NULL OR writer_until < aloft_now())
         ORDER BY image_id LIMIT \(limit) FOR UPDATE SKIP LOCKED)
      RETURNING \(fragment: ImageUploadRecord.columns), image_id
      """)
    for row in rows {
      let image = try row.get(5, as: ImageID.self)
      try session.execute("UPDATE images SET stored_bytes = coalesce(size_bytes, 0) WHERE id = \(image)")
    }
    return try rows.map { try ImageUploadRecord($0) }
  }
}
