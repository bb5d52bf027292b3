import AloftModel
import Foundation
import HTTPTypes
import JSON
import Postgres

/// The operations on projects.
///
/// That a project appears or goes is news of the cloud, because nobody can read the events of a project that is not there; that
/// it has another name is news of its own.
struct ProjectHandlers: Sendable {
  let plane: Plane

  func register(in table: inout HandlerTable) {
    table.on("listProjects", list)
    table.on("createProject", create)
    table.on("getProject", get)
    table.on("updateProject", update)
    table.on("deleteProject", delete)
  }

  private struct Body: Decodable { var name: String }

  private func list(_ call: Call) async throws -> Reply {
    let cursor = try call.cursor()
    let visible = call.principal.visibleProjects?.map(\.uuid)
    let records = try await plane.database.run { session in
      try session.query(
        """
        SELECT \(fragment: ProjectRecord.columns) FROM \(fragment: ProjectRecord.source)
         WHERE (\(cursor)::uuid IS NULL OR j.id > \(cursor)) AND (\(visible)::uuid[] IS NULL OR j.id = ANY(\(visible)))
         ORDER BY j.id LIMIT \(call.limit + 1)
        """
      ).map { try ProjectRecord($0) }
    }
    return .page(records, limit: call.limit) { $0.id.uuid }
  }

  private func get(_ call: Call) async throws -> Reply {
    let record = try await plane.database.run { session in try ProjectStore.find(call.project, in: session) }
    guard let record else { throw ProjectStore.absent(call.project) }
    return .json(record, etag: record.etag)
  }

  /// A new project has no members: whoever makes it gains nothing in it.
  private func create(_ call: Call) async throws -> Reply {
    let body = try call.decode(Body.self)
    let id = ProjectID(plane.environment.newUUID())
    return try await plane.change(call) { session in
      try ProjectStore.insert(id, name: body.name, in: session)
      try EventStore.append(.projectCreated, project: nil, resource: id.uuid, data: ["name": body.name], in: session)
      var changed = try changed(id, status: call.isDryRun ? .ok : .created, in: session)
      changed.reply.headers[.location] = "/v1/projects/\(id)"
      return changed
    }
  }

  private func update(_ call: Call) async throws -> Reply {
    let body = try call.decode(Body.self)
    return try await plane.change(call) { session in
      let project = try ProjectStore.lock(call, to: .change, in: session)
      try call.requireMatch(project.etag)
      try ProjectStore.rename(project.id, to: body.name, in: session)
      try EventStore.append(
        .projectUpdated, project: project.id, resource: project.id.uuid, data: ["name": body.name], in: session)
      return try changed(project.id, in: session)
    }
  }

  private func delete(_ call: Call) async throws -> Reply {
    if call.bool("cascade") { return try await deleteWithContents(call) }
    return try await plane.change(call) { session in
      let project = try ProjectStore.lock(call, to: .change, in: session)
      try call.requireMatch(project.etag)
      if let contents = try ProjectStore.contents(project.id, in: session) {
        throw Problem(.inUse, "project \(project.name) holds \(contents); delete that first, or ask with cascade=true")
      }
      try ProjectStore.delete(project, in: session)
      try EventStore.append(
        .projectDeleted, project: nil, resource: project.id.uuid, data: ["name": project.name], in: session)
      return Changed(
        reply: .noContent, effects: Effects(wake: [.events]), resource: project.id.uuid, project: project.id)
    }
  }

  /// Accepts the operation that empties and removes a project. Asking again is harmless: the one under way is the answer.
  private func deleteWithContents(_ call: Call) async throws -> Reply {
    let operation = OperationID(plane.environment.newUUID())
    let reply = try await plane.change(call) { session in
      let project = try ProjectStore.lock(call, to: .change, in: session)
      try call.requireMatch(project.etag)
      // Who may delete empty projects may not for that alone delete what others have made.
      for permission in [Permission.vmWrite, .volumeWrite, .imageWrite, .webhookWrite] {
        try call.principal.require(permission, project: project.id.description)
      }
      if project.deletion == nil {
        try OperationStore.insert(
          operation, kind: .deleteProject, project: project.id, resource: project.id.uuid, generation: 0,
          seconds: ProjectReconciler.operationSeconds, author: call.author, in: session)
        try QuotaStore.takeCreditAway(.project(project.id), in: session)
        try EventStore.append(
          .operationAccepted, project: project.id, resource: operation.uuid,
          data: ["kind": OperationKind.deleteProject.rawValue], in: session)
        try WorkQueue.wake(.project, project.id.uuid, in: session)
      }
      var changed = try changed(project.id, status: call.isDryRun ? .ok : .accepted, in: session)
      changed.effects.wake.insert(.work)
      return changed
    }
    return await plane.waited(call, reply)
  }

  private func changed(_ id: ProjectID, status: HTTPResponse.Status = .ok, in session: Session) throws -> Changed {
    guard let record = try ProjectStore.find(id.description, in: session) else {
      throw ProjectStore.absent(id.description)
    }
    return Changed(
      reply: .json(record, status: status, etag: record.etag), effects: Effects(wake: [.events]), resource: id.uuid,
      project: id)
  }
}
