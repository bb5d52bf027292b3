import AloftModel
import Execution
import Foundation
import HTTPTypes
import JSON
import Postgres

/// The operations on images.
struct ImageHandlers: Sendable {
  let plane: Plane

  func register(in table: inout HandlerTable) {
    table.on("listImages", list)
    table.on("createImage", create)
    table.on("getImage", get)
    table.on("updateImage", update)
    table.on("deleteImage", delete)
    table.on("uploadImage", upload)
  }

  private struct CreateBody: Decodable {
    var name: String
    var sha256: String?
    var architecture: String?
    var labels: [String: String]?
  }

  private struct UpdateBody: Decodable {
    var name: String?
    var labels: [String: String]?
  }

  private func list(_ call: Call) async throws -> Reply {
    let cursor = try call.cursor()
    let records = try await plane.database.run { session in
      try ImageStore.page(
        project: try ProjectStore.require(call, in: session), name: call.string("name"), labels: call.labelFilters(),
        after: cursor, limit: call.limit + 1, in: session)
    }
    return .page(records, limit: call.limit) { $0.id.uuid }
  }

  private func get(_ call: Call) async throws -> Reply {
    let reference = call.string("image") ?? ""
    let record = try await plane.database.run { session in
      try ImageStore.find(reference, project: try ProjectStore.require(call, in: session), in: session)
    }
    guard let record else { throw Problem(.notFound, "there is no image \(reference) in this project") }
    return .json(record, etag: record.etag)
  }

  private func create(_ call: Call) async throws -> Reply {
    let body = try call.decode(CreateBody.self)
    let id = ImageID(plane.environment.newUUID())
    return try await plane.change(call) { session in
      let project = try ProjectStore.require(call, in: session)
      try ImageStore.insert(
        id, project: project, name: body.name, labels: (body.labels ?? [:]).jsonText,
        architecture: body.architecture ?? "x86_64", sha256: body.sha256, in: session)
      try EventStore.append(.imageCreated, project: project, resource: id.uuid, data: ["name": body.name], in: session)
      return try changed(id, call, project, status: call.isDryRun ? .ok : .created, location: true, in: session)
    }
  }

  private func update(_ call: Call) async throws -> Reply {
    let body = try call.decode(UpdateBody.self)
    return try await plane.change(call) { session in
      let image = try ImageStore.lock(call, in: session)
      try call.requireMatch(image.etag)
      try ImageStore.update(image.id, name: body.name, labels: body.labels?.jsonText, in: session)
      try EventStore.append(.imageUpdated, project: image.projectID, resource: image.id.uuid, in: session)
      return try changed(image.id, call, image.projectID, in: session)
    }
  }

  private func delete(_ call: Call) async throws -> Reply {
    let upload = Lock<UUID?>(nil)
    let reply = try await plane.change(call) { session in
      let image = try ImageStore.lock(call, in: session)
      try call.requireMatch(image.etag)
      let users = try session.query("SELECT name FROM vms WHERE image_id = \(image.id) ORDER BY name LIMIT 4")
        .map { try $0.get(0, as: String.self) }
      guard users.isEmpty else {
        let names = users.prefix(3).joined(separator: ", ") + (users.count > 3 ? " and others" : "")
        throw Problem(.inUse, "image \(image.name) is what \(names) boot from; delete them first")
      }
      try ImageStore.delete(image.id, in: session)
      try EventStore.append(
        .imageDeleted, project: image.projectID, resource: image.id.uuid, data: ["name": image.name], in: session)
      upload.withLock { $0 = image.upload }
      var changed = Changed(reply: .noContent, resource: image.id.uuid, project: image.projectID)
      changed.effects.wake.insert(.events)
      return changed
    }
    // Behind the commit: a file without a row is found by `check`, a row without its file would be a loss.
    if !call.isDryRun, let id = upload.withLock({ $0 }) { await plane.images.remove(id) }
    return reply
  }

  private func upload(_ call: Call) async throws -> Reply {
    let reference = call.string("image") ?? ""
    let (image, usage) = try await plane.database.run { session in
      let project = try ProjectStore.require(call, in: session)
      return (
        try ImageStore.find(reference, project: project, in: session),
        try QuotaStore.usage(.imageBytes, of: project, in: session)
      )
    }
    guard let image else { throw Problem(.notFound, "there is no image \(reference) in this project") }
    guard !image.isReady else { throw Self.hasContent(image) }
    let file = plane.environment.newUUID()
    let limit = UploadLimit(most: plane.settings.imageLimit, usage: usage)
    try limit.require(call.request.headers[.contentLength].flatMap { Int($0) } ?? 0)
    let content = try await plane.images.receive(
      call.request.body, as: file, limit: limit, expecting: image.expectedSHA256)
    do {
      let reply = try await plane.change(call) { session in
        let image = try ImageStore.lock(call, in: session)
        guard !image.isReady else { throw Self.hasContent(image) }
        try ImageStore.fill(image.id, upload: file, content: content, in: session)
        try EventStore.append(
          .imageReady, project: image.projectID, resource: image.id.uuid, data: ["name": image.name], in: session)
        return try changed(image.id, call, image.projectID, in: session)
      }
      if call.isDryRun { await plane.images.remove(file) }
      return reply
    } catch let error as PostgresError where error.kind == .outcomeUnknown {
      // The row may name this file: `check` finds it if it does not.
      throw error
    } catch {
      await plane.images.remove(file)
      throw error
    }
  }

  private static func hasContent(_ image: ImageRecord) -> Problem {
    Problem(.wrongState, "image \(image.name) has its content already; create another image for another content")
  }

  private func changed(
    _ id: ImageID, _ call: Call, _ project: ProjectID, status: HTTPResponse.Status = .ok, location: Bool = false,
    in session: Session
  ) throws -> Changed {
    guard let record = try ImageStore.find(id, in: session) else { throw Problem(.notFound, "the image is gone") }
    var reply = Reply.json(record, status: status, etag: record.etag)
    if location { reply.headers[.location] = "/v1/images/\(id)" }
    var changed = Changed(reply: reply, resource: id.uuid, project: project)
    changed.effects.wake.insert(.events)
    return changed
  }
}
