import AloftModel
import DiskImages
import Foundation
import JSON
import Postgres

/// The rows of `images`.
///
/// Invariants:
/// - A project sees its own images, those that are shared with it, and public ones; it changes its own only.
/// - A row that names a content has its format, sizes and hash: nothing else makes an image ready.
enum ImageStore {
  /// What a project sees of `i`.
  private static func visible(to project: SQL) -> SQL {
    """
    (i.project_id = \(fragment: project) OR i.is_public
     OR EXISTS (SELECT 1 FROM image_shares s WHERE s.image_id = i.id AND s.project_id = \(fragment: project)))
    """
  }

  /// By id or name, of what a project sees; one of its own goes first.
  static func find(_ reference: String, project: ProjectID, in session: Session) throws -> ImageRecord? {
    try find(reference, project: "\(project)", in: session)
  }

  /// By id or name, for a project that is part of the statement. Throws when the name could mean several of other projects.
  static func find(_ reference: String, project: SQL, in session: Session) throws -> ImageRecord? {
    let condition: SQL = ImageID(reference).map { "i.id = \($0)" } ?? "i.name = \(reference)"
    let rows = try session.query(
      """
      SELECT \(fragment: ImageRecord.columns), i.project_id = \(fragment: project),
             \(fragment: project)::uuid FROM \(fragment: ImageRecord.source)
       WHERE \(fragment: condition) AND \(fragment: visible(to: project))
       ORDER BY i.project_id = \(fragment: project) DESC, i.id LIMIT 2
      """)
    guard let first = rows.first else { return nil }
    var image = try ImageRecord(first)
    image.viewer = try first.get(35)
    // There is no such project, and nobody in it who could see what is public.
    guard image.viewer != nil else { return nil }
    guard rows.count > 1, try !first.get(34, as: Bool.self) else { return image }
    throw Problem(
      .imageUnknown,
      "several projects have an image named \(reference); say which by its id (GET /v1/images?name=\(reference) lists them)"
    )
  }

  /// By id, whatever the project: for agents.
  static func find(_ id: ImageID, in session: Session) throws -> ImageRecord? {
    try session.one(
      "SELECT \(fragment: ImageRecord.columns) FROM \(fragment: ImageRecord.source) WHERE i.id = \(id)"
    ).map { try ImageRecord($0) }
  }

  /// What a call names, which may be somebody else's.
  static func require(_ call: Call, in session: Session) throws -> ImageRecord {
    let reference = call.string("image") ?? ""
    guard let image = try find(reference, project: try ProjectStore.require(call, in: session), in: session) else {
      throw absent(reference)
    }
    return image
  }

  /// What a call names in order to change it: of its own project.
  static func requireOwn(_ call: Call, in session: Session) throws -> ImageRecord {
    let project = try ProjectStore.require(call, in: session)
    let image = try require(call, in: session)
    guard image.projectID == project else {
      throw Problem(.forbidden, "image \(image.name) belongs to another project; only there it can be changed")
    }
    return image
  }

  /// Locks the image that a call names; the caller's transaction decides about it.
  static func lock(_ call: Call, in session: Session) throws -> ImageRecord {
    let found = try requireOwn(call, in: session)
    guard let image = try lock(found.id, in: session) else { throw absent(found.name) }
    return image
  }

  static func lock(_ id: ImageID, in session: Session) throws -> ImageRecord? {
    guard try session.one("SELECT 1 FROM images WHERE id = \(id) FOR UPDATE") != nil else { return nil }
    return try find(id, in: session)
  }

  /// Locks an image that waits for its content.
  static func lockEmpty(_ id: ImageID, in session: Session) throws {
    guard let row = try session.one("SELECT upload IS NOT NULL, name FROM images WHERE id = \(id) FOR UPDATE") else {
      throw Problem(.notFound, "the image was deleted a moment ago")
    }
    if try row.get(0, as: Bool.self) { throw hasContent(try row.get(1)) }
  }

  static func hasContent(_ name: String) -> Problem {
    Problem(.wrongState, "image \(name) has its content already; create another image for another content")
  }

  static func absent(_ reference: String) -> Problem {
    Problem(.notFound, "there is no image \(reference) in this project, and none is shared with it")
  }

  static func insert(
    _ id: ImageID, project: ProjectID, name: String, labels: String, architecture: String, sha256: String?,
    _ properties: ImageProperties, in session: Session
  ) throws {
    try session.execute(
      """
      INSERT INTO images (id, project_id, name, labels, architecture, expected_sha256, firmware, min_disk_gib,
                          min_memory_mib, default_user)
      VALUES (\(id), \(project), \(name), \(JSONText(labels))::jsonb, \(architecture), \(sha256),
              \(properties.firmware), \(properties.minDiskGib), \(properties.minMemoryMib), \(properties.defaultUser))
      """
    ) { error in
      if error.isUniqueViolation("images_project_id_name_key") { return .nameTaken(name, what: "an image") }
      return error.isForeignKeyViolation("images_project_id_fkey") ? ProjectStore.absent(project.description) : nil
    }
  }

  /// Writes everything of a locked image that its owner may change.
  static func update(_ image: ImageRecord, in session: Session) throws {
    let properties = image.properties
    try session.execute(
      """
      UPDATE images SET name = \(image.name), labels = \(JSONText(image.labels))::jsonb,
                        firmware = \(properties.firmware), min_disk_gib = \(properties.minDiskGib),
                        min_memory_mib = \(properties.minMemoryMib), default_user = \(properties.defaultUser),
                        deprecation = \(image.deprecation),
                        deprecated_at = CASE WHEN \(image.deprecation)::text IS NOT NULL
                                             THEN coalesce(deprecated_at, aloft_now()) END,
                        revision = revision + 1, updated_at = aloft_now()
       WHERE id = \(image.id)
      """, unique: "images_project_id_name_key", else: .nameTaken(image.name, what: "an image"))
  }

  /// Makes a judged content the image's.
  static func fill(_ id: ImageID, _ whole: ImageUploadWriter.Whole, in session: Session) throws {
    let format: ImageFormat = whole.report.format == .qcow2 ? .qcow2 : .raw
    _ = try session.execute(
      """
      UPDATE images SET upload = \(whole.content), format = \(format), size_bytes = \(whole.size),
                        stored_bytes = \(whole.size), virtual_size_bytes = \(Int(whole.report.virtualSize)),
                        sha256 = \(whole.sha256), revision = revision + 1, updated_at = aloft_now()
       WHERE id = \(id)
      """)
  }

  static func delete(_ id: ImageID, in session: Session) throws {
    _ = try session.execute("DELETE FROM images WHERE id = \(id)")
  }

  /// Whether anything needs a content, or is about to.
  static func needs(_ content: UUID, in session: Session) throws -> Bool {
    try session.one(
      """
      SELECT 1 WHERE EXISTS (SELECT 1 FROM images WHERE upload = \(content))
                  OR EXISTS (SELECT 1 FROM image_uploads WHERE content = \(content))
      """) != nil
  }
}
