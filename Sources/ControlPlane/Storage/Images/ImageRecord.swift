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
  /// The content in the image store; nil while it waits for one.
  var upload: UUID?
  var format: ImageFormat?
  var sizeBytes: Int?
  var virtualSizeBytes: Int?
  var sha256: String?
  /// What the image store has of it, whole or not.
  var storedBytes: Int
  var properties: ImageProperties
  var visibility: ImageVisibility
  /// Still to be had, but not recommended any more.
  var deprecatedAt: Date?
  var deprecation: String?
  var revision: Int
  var createdAt: Date
  var updatedAt: Date
  /// What is being done about its content.
  var operation: OperationRecord?
  /// The project that looked it up, where one did.
  var viewer: ProjectID?

  var etag: String { "\"\(revision)\"" }
  var isReady: Bool { upload != nil }

  /// The smallest whole GiB that hold the disk.
  var smallestDiskGiB: Int { max(1, properties.minDiskGib ?? 1, ((virtualSizeBytes ?? 0) + (1 << 30) - 1) >> 30) }

  static let columns: SQL = """
    i.id, i.project_id, i.name, i.labels, i.architecture, i.expected_sha256, i.upload, i.format, i.size_bytes,
    i.virtual_size_bytes, i.sha256, i.stored_bytes, i.firmware, i.min_disk_gib, i.min_memory_mib, i.default_user,
    CASE WHEN i.is_public THEN 'public'
         WHEN EXISTS (SELECT 1 FROM image_shares h WHERE h.image_id = i.id) THEN 'shared' ELSE 'private' END,
    i.deprecated_at, i.deprecation, i.revision, i.created_at, i.updated_at, \(fragment: OperationRecord.columns)
    """
  /// `i` is the image, `p` the operation that sees to its content.
  static let source: SQL = "images i LEFT JOIN operations p ON p.resource_id = i.id AND p.finished_at IS NULL"

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
    storedBytes = try row.get(11)
    properties = ImageProperties(
      firmware: try row.get(12), minDiskGib: try row.get(13), minMemoryMib: try row.get(14),
      defaultUser: try row.get(15))
    visibility = try row.get(16)
    deprecatedAt = try row.get(17)
    deprecation = try row.get(18)
    revision = try row.get(19)
    createdAt = try row.get(20)
    updatedAt = try row.get(21)
    operation = try OperationRecord(row, from: 22)
  }
}

/// What an image needs and brings, as its owner says.
struct ImageProperties: Sendable, Equatable {
  var firmware: ImageFirmware?
  var minDiskGib: Int?
  var minMemoryMib: Int?
  var defaultUser: String?
}

extension ImageRecord: JSONWritable {
  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("id", id)
      writer.field("name", name)
      writer.field("project_id", projectID)
      writer.field("state", isReady ? "ready" : "awaiting_upload")
      writer.field("visibility", visibility)
      writer.field("format", format)
      writer.field("size_bytes", sizeBytes)
      writer.field("virtual_size_bytes", virtualSizeBytes)
      writer.field("stored_bytes", storedBytes)
      writer.field("sha256", sha256 ?? expectedSHA256)
      writer.field("architecture", architecture)
      writer.field("firmware", properties.firmware)
      writer.field("min_disk_gib", properties.minDiskGib)
      writer.field("min_memory_mib", properties.minMemoryMib)
      writer.field("default_user", properties.defaultUser)
      writer.key("deprecated")
      if let deprecatedAt {
        writer.object { writer in
          writer.field("at", deprecatedAt)
          writer.field("message", deprecation ?? "")
        }
      } else {
        writer.writeNull()
      }
      writer.key("labels")
      writer.raw(labels)
      writer.key("operation")
      if let operation { operation.write(to: &writer) } else { writer.writeNull() }
      writer.field("created_at", createdAt)
      writer.field("updated_at", updatedAt)
    }
  }
}

extension Problem {
  static func nameTaken(_ name: String, what: String) -> Problem {
    Problem(
      .nameTaken, "\(what) named \(name) exists already in this project; choose another name or delete that one",
      errors: [.init(code: .nameTaken, detail: "taken", pointer: "/name")])
  }
}
