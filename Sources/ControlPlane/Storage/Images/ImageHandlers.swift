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
    table.on("appendImageContent", append)
    table.on("discardImageUpload", discard)
    table.on("headImageContent", head)
    table.on("downloadImage", download)
    table.on("listImageShares", listShares)
    table.on("shareImage", share)
    table.on("unshareImage", unshare)
    table.on("publishImage", publish)
    table.on("unpublishImage", unpublish)
    table.on("cancelImageFetch", cancelFetch)
  }

  private struct CreateBody: Decodable {
    struct Source: Decodable {
      var url: String?
      var volume: String?
      var snapshot: String?
    }

    var name: String
    var sha256: String?
    var architecture: String?
    var firmware: ImageFirmware?
    var minDiskGib: Int?
    var minMemoryMib: Int?
    var defaultUser: String?
    var labels: [String: String]?
    var source: Source?
  }

  private func list(_ call: Call) async throws -> Reply {
    let cursor = try call.cursor()
    let records = try await plane.database.run { session in
      let project = try ProjectStore.require(call, in: session)
      var filter = ImageStore.Filter(
        name: call.string("name"), labels: call.labelFilters(),
        visibility: call.string("visibility").flatMap { ImageVisibility(rawValue: $0) },
        withDeprecated: call.bool("include_deprecated"))
      if let owner = call.string("owner") {
        // A project that the caller may not see has no images that could be asked for by its name.
        guard let found = try ProjectStore.find(owner, in: session) else { return [ImageRecord]() }
        filter.owner = found.id
      }
      return try ImageStore.page(project: project, filter, after: cursor, limit: call.limit + 1, in: session)
    }
    return .page(records, limit: call.limit) { $0.id.uuid }
  }

  private func get(_ call: Call) async throws -> Reply {
    let record = try await plane.database.run { session in try ImageStore.require(call, in: session) }
    return .json(record, etag: record.etag)
  }

  private func create(_ call: Call) async throws -> Reply {
    let body = try call.decode(CreateBody.self)
    let id = ImageID(plane.environment.newUUID())
    let operation = OperationID(plane.environment.newUUID())
    let source = try body.source?.url.map { try fetchSource($0) }
    let captured = try captureSource(body)
    let reply = try await plane.change(call) { session in
      let project = try ProjectStore.require(call, in: session)
      // Volumes and nodes are locked before what a project uses, which the new row counts in.
      let capture = try captured.map { try requireCaptured($0, call, in: session) }
      let node = try capture.flatMap { try VolumeStore.intend($0.volume.id, in: session).node }
      let properties = ImageProperties(
        firmware: body.firmware, minDiskGib: body.minDiskGib, minMemoryMib: body.minMemoryMib,
        defaultUser: body.defaultUser)
      try ImageStore.insert(
        id, project: project, name: body.name, labels: (body.labels ?? [:]).jsonText,
        architecture: body.architecture ?? capture?.architecture ?? "x86_64", sha256: body.sha256, properties,
        in: session)
      try EventStore.append(.imageCreated, project: project, resource: id.uuid, data: ["name": body.name], in: session)
      if let source {
        try ImageFetchStore.insert(id, url: source, in: session)
        try OperationStore.accept(
          operation, .fetchImage, project: project, of: .image, id.uuid, generation: 0,
          seconds: ImageFetchStore.seconds, author: call.author, in: session)
      }
      if let capture {
        try beginCapture(id, of: capture, in: session)
        try OperationStore.accept(
          operation, .captureImage, project: project, of: .image, id.uuid, generation: 0,
          seconds: ImageCaptureStore.seconds, author: call.author, in: session)
      }
      let isWaiting = source == nil && capture == nil
      let status: HTTPResponse.Status = call.isDryRun ? .ok : isWaiting ? .created : .accepted
      var changed = try changed(id, call, project, status: status, location: true, in: session)
      if let node { changed.effects.wake.insert(.node(node.uuid)) }
      return changed
    }
    return await plane.waited(call, reply)
  }

  /// What the image is to be made of; nil: of nothing that this cloud has.
  private func captureSource(_ body: CreateBody) throws -> CaptureSource? {
    guard let source = body.source else { return nil }
    let isCaptured = source.volume != nil || source.snapshot != nil
    guard isCaptured != (source.url != nil) else {
      throw Problem.field(
        .notOneOf, "/source", "say one source: a URL, a volume, or a snapshot (with the volume, if it is of several)")
    }
    guard isCaptured else { return nil }
    if body.sha256 != nil {
      throw Problem.field(.notOneOf, "/sha256", "what is made of a volume hashes to what it hashes to; leave it out")
    }
    return CaptureSource(volume: source.volume, snapshot: source.snapshot)
  }

  private func update(_ call: Call) async throws -> Reply {
    let body = call.body?.objectValue ?? [:]
    let names = try call.decode(NamesBody.self)
    return try await plane.change(call) { session in
      var image = try ImageStore.lock(call, in: session)
      try call.requireMatch(image.etag)
      image.name = names.name ?? image.name
      image.labels = names.labels?.jsonText ?? image.labels
      // What is null is taken away, what is absent stays.
      if let value = body["firmware"] { image.properties.firmware = value.stringValue.flatMap(ImageFirmware.init) }
      if let value = body["min_disk_gib"] { image.properties.minDiskGib = value.intValue }
      if let value = body["min_memory_mib"] { image.properties.minMemoryMib = value.intValue }
      if let value = body["default_user"] { image.properties.defaultUser = value.stringValue }
      if let value = body["deprecated"] { image.deprecation = value["message"]?.stringValue }
      try ImageStore.update(image, in: session)
      try EventStore.append(.imageUpdated, project: image.projectID, resource: image.id.uuid, in: session)
      return try changed(image.id, call, image.projectID, in: session)
    }
  }

  private struct NamesBody: Decodable {
    var name: String?
    var labels: [String: String]?
  }

  private func delete(_ call: Call) async throws -> Reply {
    let left = Lock<(content: UUID?, upload: ImageUploadRecord?)>((nil, nil))
    let reply = try await plane.change(call) { session in
      let image = try ImageStore.lock(call, in: session)
      try call.requireMatch(image.etag)
      try requireUnused(image, in: session)
      let upload = try ImageUploadStore.find(image.id, in: session)
      var effects = Effects(wake: [.events])
      try ImageFetchStore.cancel(image, in: session, &effects)
      try ImageCaptureStore.cancel(image, in: session, &effects)
      try ImageStore.delete(image.id, in: session)
      try EventStore.append(
        .imageDeleted, project: image.projectID, resource: image.id.uuid, data: ["name": image.name], in: session)
      left.withLock { $0 = (image.upload, upload) }
      return Changed(reply: .noContent, effects: effects, resource: image.id.uuid, project: image.projectID)
    }
    // Behind the commit: an object without a row is found by `check`, a row without its object would be a loss.
    if call.isDryRun { return reply }
    let (content, upload) = left.withLock { $0 }
    if let content { await plane.images.remove(content) }
    if let upload { await plane.images.discard(upload.content, state: upload.state) }
    return reply
  }

  /// Volumes need their image as long as they are. Those of others are counted and not named.
  private func requireUnused(_ image: ImageRecord, in session: Session) throws {
    let own = try session.someNames(
      """
      SELECT name FROM volumes WHERE image_id = \(image.id) AND project_id = \(image.projectID) ORDER BY name
      """)
    let others: Int =
      try session.one(
        "SELECT count(*) FROM volumes WHERE image_id = \(image.id) AND project_id <> \(image.projectID)")?.get(0) ?? 0
    let users = [own, others == 0 ? nil : "\(others) of other projects"].compactMap { $0 }
    if users.isEmpty { return }
    throw Problem(
      .inUse,
      "image \(image.name) is what volumes were made from: \(users.joined(separator: ", and ")); "
        + (others == 0 ? "delete them first" : "deprecate it instead, or stop sharing it"))
  }

  func changed(
    _ id: ImageID, _ call: Call, _ project: ProjectID, status: HTTPResponse.Status = .ok, location: Bool = false,
    in session: Session
  ) throws -> Changed {
    guard let record = try ImageStore.find(id, in: session) else { throw Problem(.notFound, "the image is gone") }
    var reply = Reply.json(record, status: status, etag: record.etag)
    if location { reply.headers[.location] = "/v1/images/\(id)" }
    var changed = Changed(reply: reply, resource: id.uuid, project: project)
    changed.effects.wake.formUnion([.events, .work, .images])
    return changed
  }
}
