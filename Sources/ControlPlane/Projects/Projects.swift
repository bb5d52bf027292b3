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

  static let columns: SQL = "p.id, p.name, p.revision, p.created_at"

  init(_ row: Row) throws {
    id = try row.get(0)
    name = try row.get(1)
    revision = try row.get(2)
    createdAt = try row.get(3)
  }

  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("id", id)
      writer.field("name", name)
      writer.field("created_at", createdAt)
    }
  }
}

/// The rows of `projects`.
enum ProjectStore {
  /// By id or name.
  static func find(_ reference: String, in session: Session) throws -> ProjectRecord? {
    let condition: SQL = ProjectID(reference).map { "p.id = \($0)" } ?? "p.name = \(reference)"
    return try session.one("SELECT \(fragment: ProjectRecord.columns) FROM projects p WHERE \(fragment: condition)").map
    { try ProjectRecord($0) }
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

  /// Told also to those who may not see it.
  static func absent(_ reference: String) -> Problem {
    Problem(.notFound, "there is no project \(reference); GET /v1/projects lists them")
  }
}

/// The operations on projects.
struct ProjectHandlers: Sendable {
  let plane: Plane

  func register(in table: inout HandlerTable) {
    table.on("listProjects", list)
    table.on("getProject", get)
  }

  private func list(_ call: Call) async throws -> Reply {
    let cursor = try call.cursor()
    let visible = call.principal.visibleProjects?.map(\.uuid)
    let records = try await plane.database.run { session in
      try session.query(
        """
        SELECT \(fragment: ProjectRecord.columns) FROM projects p
         WHERE (\(cursor)::uuid IS NULL OR p.id > \(cursor)) AND (\(visible)::uuid[] IS NULL OR p.id = ANY(\(visible)))
         ORDER BY p.id LIMIT \(call.limit + 1)
        """
      ).map { try ProjectRecord($0) }
    }
    return .page(records, limit: call.limit) { $0.id.uuid }
  }

  private func get(_ call: Call) async throws -> Reply {
    let record = try await plane.database.run { session in try ProjectStore.find(call.project, in: session) }
    guard let record else { throw ProjectStore.absent(call.project) }
    return .json(record, etag: "\"\(record.revision)\"")
  }
}
