import AloftModel
import Foundation
import JSON
import Postgres

/// A tenant as the API shows it.
struct ProjectRecord: Sendable, JSONWritable {
  var id: ProjectID
  var name: String
  var revision: Int
  var createdAt: Date
  var updatedAt: Date
  /// What empties the project, so that it can go; nil: nobody asked for that.
  var deletion: OperationRecord?

  var etag: String { "\"\(revision)\"" }

  static let columns: SQL = """
    j.id, j.name, j.revision, j.created_at, j.updated_at, \(fragment: OperationRecord.columns)
    """
  /// `j` is the project, `p` the operation that empties it.
  static let source: SQL = """
    projects j LEFT JOIN operations p ON p.resource_id = j.id AND p.finished_at IS NULL
    """

  init(_ row: Row) throws {
    id = try row.get(0)
    name = try row.get(1)
    revision = try row.get(2)
    createdAt = try row.get(3)
    updatedAt = try row.get(4)
    deletion = try OperationRecord(row, from: 5)
  }

  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("id", id)
      writer.field("name", name)
      writer.field("state", deletion == nil ? "active" : "deleting")
      writer.key("operation")
      if let deletion { deletion.write(to: &writer) } else { writer.writeNull() }
      writer.field("created_at", createdAt)
      writer.field("updated_at", updatedAt)
    }
  }
}

/// The rows of `projects`.
///
/// Invariants:
/// - Whatever belongs to a project and would be lost with it refers to it by a foreign key, so nothing can come into a project
///   that is being deleted, and none is deleted that something has just come into.
/// - Operations, events and audit records outlive their project.
enum ProjectStore {
  /// By id or name.
  static func find(_ reference: String, in session: Session) throws -> ProjectRecord? {
    let condition: SQL = ProjectID(reference).map { "j.id = \($0)" } ?? "j.name = \(reference)"
    return try session.one(
      "SELECT \(fragment: ProjectRecord.columns) FROM \(fragment: ProjectRecord.source) WHERE \(fragment: condition)"
    ).map { try ProjectRecord($0) }
  }

  /// The id of the project that a call is about, as part of a statement; NULL if there is no such project.
  static func id(_ call: Call) -> SQL {
    let reference = call.project
    return ProjectID(reference).map { "\($0)" } ?? "(SELECT id FROM projects WHERE name = \(reference))"
  }

  /// The project that a call is about.
  static func require(_ call: Call, in session: Session) throws -> ProjectID {
    guard let project = try find(call.project, in: session) else { throw absent(call.project) }
    return project.id
  }

  /// What a transaction wants of the project that it locks.
  enum Purpose {
    /// To rename or delete it: nothing comes into it or out of it meanwhile.
    case change
    /// To change its members, one transaction at a time. What belongs to the project comes and goes as it likes.
    case members

    fileprivate var clause: SQL {
      switch self {
      case .change: "FOR UPDATE"
      case .members: "FOR NO KEY UPDATE"
      }
    }
  }

  /// Locks the project that a call is about.
  static func lock(_ call: Call, to purpose: Purpose, in session: Session) throws -> ProjectRecord {
    guard let found = try find(call.project, in: session), let project = try lock(found.id, to: purpose, in: session)
    else { throw absent(call.project) }
    return project
  }

  /// Locks a project and reads it as it is then; nil when there is none.
  static func lock(_ id: ProjectID, to purpose: Purpose, in session: Session) throws -> ProjectRecord? {
    let row = try session.one("SELECT 1 FROM projects WHERE id = \(id) \(fragment: purpose.clause)")
    return row == nil ? nil : try find(id.description, in: session)
  }

  static func insert(_ id: ProjectID, name: String, in session: Session) throws {
    try session.execute(
      "INSERT INTO projects (id, name) VALUES (\(id), \(name))", unique: "projects_name_key", else: taken(name))
  }

  static func rename(_ id: ProjectID, to name: String, in session: Session) throws {
    try session.execute(
      "UPDATE projects SET name = \(name), revision = revision + 1, updated_at = aloft_now() WHERE id = \(id)",
      unique: "projects_name_key", else: taken(name))
  }

  /// Deletes a project that holds nothing, with its members, its webhooks and the tokens that are for it alone.
  static func delete(_ project: ProjectRecord, in session: Session) throws {
    try WebhookStore.lockAll(of: project.id, in: session)
    try session.execute("DELETE FROM projects WHERE id = \(project.id)") { error in
      error.isForeignKeyViolation()
        ? Problem(.inUse, "project \(project.name) holds something still; delete all that is in it first") : nil
    }
  }

  /// What is in a project, in words: "2 VMs, 1 image". Nil when that is nothing. Certain while the project is locked.
  static func contents(_ id: ProjectID, in session: Session) throws -> String? {
    guard
      let row = try session.one(
        """
        SELECT (SELECT count(*) FROM vms WHERE project_id = \(id) AND deleted_at IS NULL),
               (SELECT count(*) FROM vms WHERE project_id = \(id) AND deleted_at IS NOT NULL),
               (SELECT count(*) FROM volumes WHERE project_id = \(id) AND vm_id IS NULL),
               (SELECT count(*) FROM backups WHERE project_id = \(id) AND deleted_at IS NULL),
               (SELECT count(*) FROM backups WHERE project_id = \(id) AND deleted_at IS NOT NULL),
               (SELECT count(*) FROM images WHERE project_id = \(id)),
               (SELECT count(*) FROM networks WHERE project_id = \(id)),
               (SELECT count(*) FROM security_groups WHERE project_id = \(id) AND NOT is_default),
               (SELECT count(*) FROM routers WHERE project_id = \(id)),
               (SELECT count(*) FROM floating_ips WHERE project_id = \(id)),
               (SELECT count(*) FROM load_balancers WHERE project_id = \(id)),
               (SELECT count(*) FROM operations WHERE project_id = \(id) AND finished_at IS NULL)
        """)
    else { return nil }
    let words = [
      ("VM", "VMs"), ("VM that is being deleted", "VMs that are being deleted"), ("volume", "volumes"),
      ("backup", "backups"), ("backup that is being cleared away", "backups that are being cleared away"),
      ("image", "images"),
      ("network", "networks"), ("security group", "security groups"), ("router", "routers"),
      ("floating IP", "floating IPs"), ("load balancer", "load balancers"),
      ("open operation", "open operations"),
    ]
    let parts = try words.enumerated().compactMap { index, word -> String? in
      let count = try row.get(index, as: Int.self)
      return count == 0 ? nil : "\(count) \(count == 1 ? word.0 : word.1)"
    }
    return parts.isEmpty ? nil : parts.joined(separator: ", ")
  }

  /// Told also to those who may not see it.
  static func absent(_ reference: String) -> Problem {
    Problem(.notFound, "there is no project \(reference); GET /v1/projects lists them")
  }

  private static func taken(_ name: String) -> Problem {
    Problem(
      .nameTaken, "a project named \(name) exists already; choose another name",
      errors: [.init(code: .nameTaken, detail: "taken", pointer: "/name")])
  }
}
