import AloftModel
import Foundation
import JSON
import Postgres

/// An image as the API shows it.
struct ImageRecord: Sendable {
  var id: ImageID
  var projectID: ProjectID
  var name: String
  /// A JSON object, passed through.
  var labels: String
  var architecture: String
  var expectedSHA256: String?
  /// The file that holds the content; nil while it waits for one.
  var upload: UUID?
  var format: ImageFormat?
  var sizeBytes: Int?
  var virtualSizeBytes: Int?
  var sha256: String?
  var revision: Int
  var createdAt: Date
  var updatedAt: Date

  var etag: String { "\"\(revision)\"" }
  var isReady: Bool { upload != nil }

  /// The smallest whole GiB that hold the disk.
  var smallestDiskGiB: Int { max(1, ((virtualSizeBytes ?? 0) + (1 << 30) - 1) >> 30) }

  static let columns: SQL = """
    i.id, i.project_id, i.name, i.labels, i.architecture, i.expected_sha256, i.upload, i.format, i.size_bytes,
    i.virtual_size_bytes, i.sha256, i.revision, i.created_at, i.updated_at
    """

  init(_ row: Row) throws {
    id = try row.get(0)
    projectID = try row.get(1)
    name = try row.get(2)
    labels = try row.get(3, as: JSONText.self).text
    architecture = try row.get(4)
    expectedSHA256 = try row.get(5)
    upload = try row.get(6)
    format = try row.get(7)
    sizeBytes = try row.get(8)
    virtualSizeBytes = try row.get(9)
    sha256 = try row.get(10)
    revision = try row.get(11)
    createdAt = try row.get(12)
    updatedAt = try row.get(13)
  }
}

extension ImageRecord: JSONWritable {
  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("id", id)
      writer.field("name", name)
      writer.field("project_id", projectID)
      writer.field("state", isReady ? "ready" : "awaiting_upload")
      writer.field("format", format)
      writer.field("size_bytes", sizeBytes)
      writer.field("virtual_size_bytes", virtualSizeBytes)
      writer.field("sha256", sha256 ?? expectedSHA256)
      writer.field("architecture", architecture)
      writer.key("labels")
      writer.raw(labels)
      writer.field("created_at", createdAt)
      writer.field("updated_at", updatedAt)
    }
  }
}

/// The rows of `images`.
enum ImageStore {
  /// By id or name.
  static func find(_ reference: String, project: ProjectID, in session: Session) throws -> ImageRecord? {
    try find(reference, project: "\(project)", in: session)
  }

  /// By id or name, in a project that is part of the statement.
  static func find(_ reference: String, project: SQL, in session: Session) throws -> ImageRecord? {
    let condition: SQL = ImageID(reference).map { "i.id = \($0)" } ?? "i.name = \(reference)"
    return try session.one(
      """
      SELECT \(fragment: ImageRecord.columns) FROM images i
       WHERE i.project_id = \(fragment: project) AND \(fragment: condition)
      """
    ).map { try ImageRecord($0) }
  }

  /// By id, whatever the project: for agents.
  static func find(_ id: ImageID, in session: Session) throws -> ImageRecord? {
    try session.one("SELECT \(fragment: ImageRecord.columns) FROM images i WHERE i.id = \(id)").map {
      try ImageRecord($0)
    }
  }

  /// Locks the image that a call names; the caller's transaction decides about it.
  static func lock(_ call: Call, in session: Session) throws -> ImageRecord {
    let project = try ProjectStore.require(call, in: session)
    let reference = call.string("image") ?? ""
    guard let image = try find(reference, project: project, in: session),
      try session.one("SELECT 1 FROM images WHERE id = \(image.id) FOR UPDATE") != nil,
      let locked = try find(image.id, in: session)
    else { throw Problem(.notFound, "there is no image \(reference) in this project") }
    return locked
  }

  static func insert(
    _ id: ImageID, project: ProjectID, name: String, labels: String, architecture: String, sha256: String?,
    in session: Session
  ) throws {
    try session.execute(
      """
      INSERT INTO images (id, project_id, name, labels, architecture, expected_sha256)
      VALUES (\(id), \(project), \(name), \(JSONText(labels))::jsonb, \(architecture), \(sha256))
      """
    ) { error in
      if error.isUniqueViolation("images_project_id_name_key") { return .nameTaken(name, what: "an image") }
      return error.isForeignKeyViolation("images_project_id_fkey") ? ProjectStore.absent(project.description) : nil
    }
  }

  static func update(_ id: ImageID, name: String?, labels: String?, in session: Session) throws {
    let labels = labels.map { JSONText($0) }
    try session.execute(
      """
      UPDATE images SET name = coalesce(\(name), name), labels = coalesce(\(labels)::jsonb, labels),
                        revision = revision + 1, updated_at = aloft_now()
       WHERE id = \(id)
      """, unique: "images_project_id_name_key", else: .nameTaken(name ?? "", what: "an image"))
  }

  /// Makes an uploaded file the image's content.
  static func fill(_ id: ImageID, upload: UUID, content: ImageContent, in session: Session) throws {
    _ = try session.execute(
      """
      UPDATE images SET upload = \(upload), format = \(content.format), size_bytes = \(content.sizeBytes),
                        virtual_size_bytes = \(content.virtualSizeBytes), sha256 = \(content.sha256),
                        revision = revision + 1, updated_at = aloft_now()
       WHERE id = \(id)
      """)
  }

  static func delete(_ id: ImageID, in session: Session) throws {
    _ = try session.execute("DELETE FROM images WHERE id = \(id)")
  }

  static func page(
    project: ProjectID, name: String?, labels: [VMStore.LabelFilter], after: UUID?, limit: Int, in session: Session
  ) throws -> [ImageRecord] {
    var condition: SQL = "i.project_id = \(project)"
    if let after { condition.append(" AND i.id > \(after)") }
    if let name { condition.append(" AND i.name = \(name)") }
    for label in labels { condition.append(VMStore.labelCondition("i.labels", label)) }
    return try session.query(
      "SELECT \(fragment: ImageRecord.columns) FROM images i WHERE \(fragment: condition) ORDER BY i.id LIMIT \(limit)"
    ).map { try ImageRecord($0) }
  }
}

extension Problem {
  static func nameTaken(_ name: String, what: String) -> Problem {
    Problem(
      .nameTaken, "\(what) named \(name) exists already in this project; choose another name or delete that one",
      errors: [.init(code: .nameTaken, detail: "taken", pointer: "/name")])
  }
}
