import AloftModel
import Foundation
import HTTP
import HTTPTypes
import Postgres

/// Resumable uploads, after draft-ietf-httpbis-resumable-upload: what the store has of a broken one is kept.
extension ImageHandlers {
  /// PUT: all of it at once.
  func upload(_ call: Call) async throws -> Reply {
    let (image, limit) = try await emptyImage(call)
    let length = call.request.body.declaredLength.map { Int($0) } ?? call.int("Upload-Length")
    try limit.require(length ?? 0)
    if call.isDryRun { return try await tried(call, image, limit) }
    return try await receive(call, image, .anew(size: length), limit, isLast: true)
  }

  /// PATCH: the bytes from an offset on.
  func append(_ call: Call) async throws -> Reply {
    let (image, limit) = try await emptyImage(call)
    let offset = call.int("Upload-Offset") ?? 0
    let isLast = call.string("Upload-Complete") == "?1"
    let known = isLast ? call.request.body.declaredLength.map { offset + Int($0) } : nil
    try limit.require(known ?? call.int("Upload-Length") ?? offset)
    if call.isDryRun {
      // Half a content cannot be judged: what can be told is whether it would go on here.
      let found = try await plane.database.run { session in try ImageUploadStore.find(image.id, in: session) }
      let kept = found?.durable ?? 0
      guard offset == kept else { throw Problem.wrongOffset(kept, given: offset) }
      return Self.goingOn(at: kept)
    }
    return try await receive(
      call, image, .at(offset, size: call.int("Upload-Length"), end: known), limit, isLast: isLast)
  }

  /// DELETE: begin anew.
  func discard(_ call: Call) async throws -> Reply {
    let writer = plane.environment.newUUID()
    let (image, _) = try await emptyImage(call)
    let old = try await plane.database.run { session in try ImageUploadStore.find(image.id, in: session) }
    let reply = try await plane.change(call) { session in
      try ImageStore.lockEmpty(image.id, in: session)
      if try ImageUploadStore.claim(image.id, for: writer, in: session) != nil {
        try ImageUploadStore.end(image.id, writer: writer, in: session)
      }
      return Changed(reply: .noContent, resource: image.id.uuid, project: image.projectID)
    }
    if !call.isDryRun, let old { await plane.images.discard(old.content, state: old.state) }
    return reply
  }

  /// HEAD: how far it is.
  func head(_ call: Call) async throws -> Reply {
    let (image, upload) = try await plane.database.run { session in
      let image = try ImageStore.require(call, in: session)
      return (image, try ImageUploadStore.find(image.id, in: session))
    }
    var reply = Reply(status: image.isReady ? .ok : .noContent)
    reply.headers[.uploadComplete] = image.isReady ? "?1" : "?0"
    reply.headers[.uploadOffset] = "\(image.sizeBytes ?? upload?.durable ?? 0)"
    reply.headers[.uploadLimit] = "max-size=\(plane.settings.imageLimit)"
    if image.isReady {
      reply.headers[.acceptRanges] = "bytes"
      reply.headers[.contentLength] = "\(image.sizeBytes ?? 0)"
      reply.headers[.eTag] = image.sha256.map { "\"\($0)\"" }
      reply.contentType = "application/octet-stream"
    }
    return reply
  }

  /// The image that waits for the content, and how much may come.
  private func emptyImage(_ call: Call) async throws -> (ImageRecord, UploadLimit) {
    let (image, usage) = try await plane.database.run { session in
      let image = try ImageStore.requireOwn(call, in: session)
      return (image, try QuotaStore.usage(.imageBytes, of: image.projectID, in: session))
    }
    guard !image.isReady else { throw ImageStore.hasContent(image.name) }
    guard image.operation == nil else {
      throw Problem(
        .wrongState, "image \(image.name) is being fetched or made of a volume; cancel that, or wait for its end")
    }
    return (image, UploadLimit(most: plane.settings.imageLimit, usage: usage, own: image.storedBytes))
  }

  private func receive(
    _ call: Call, _ image: ImageRecord, _ start: ImageUploadWriter.Start, _ limit: UploadLimit, isLast: Bool
  ) async throws -> Reply {
    let digest = try Self.digest(call.string("Repr-Digest"), announced: image.expectedSHA256)
    let writer = try await ImageUploadWriter.open(image.id, start, plane: plane)
    let beats = writer.beating(plane.environment)
    defer { beats.cancel() }
    do {
      var total = await writer.received
      for try await chunk in call.request.body {
        total += chunk.count
        try limit.require(total)
        try await writer.append(chunk)
      }
      if isLast {
        let whole = try await writer.finish(expecting: digest)
        let reply = try await accept(whole, of: image.id) { fill in try await plane.change(call, fill) }
        await writer.close()
        return reply
      }
      return Self.goingOn(at: await writer.close())
    } catch {
      // The client may have left, and with it this task's right to go on.
      let kept = await Task { await writer.close() }.value
      switch error {
      case BodyError.incomplete, BodyError.timedOut, BodyError.cancelled, BodyError.unavailable:
        throw Problem.incomplete(kept)
      case var problem as Problem where [.unavailable, .quotaExceeded].contains(problem.code):
        problem.uploadOffset = kept
        throw problem
      default: throw error
      }
    }
  }

  static func goingOn(at offset: Int) -> Reply {
    var reply = Reply.noContent
    reply.headers[.uploadOffset] = "\(offset)"
    reply.headers[.uploadComplete] = "?0"
    return reply
  }

  /// Makes a judged content the image's, in a transaction that `change` runs.
  func accept<Answer: Sendable>(
    _ whole: ImageUploadWriter.Whole, of id: ImageID,
    _ change: (_ fill: @escaping @Sendable (Session) throws -> Changed) async throws -> Answer
  ) async throws -> Answer {
    do {
      return try await change { session in
        guard let image = try ImageStore.lock(id, in: session) else {
          throw Problem(.notFound, "the image was deleted a moment ago")
        }
        guard !image.isReady else { throw ImageStore.hasContent(image.name) }
        let count = try session.execute(
          "DELETE FROM image_uploads WHERE image_id = \(id) AND content = \(whole.content)")
        guard count == 1 else { throw Problem.uploadInUse }
        try ImageStore.fill(id, whole, in: session)
        // Nobody needs to look whether it was finished. Who is looking now sees that by itself.
        try session.execute(
          "DELETE FROM work WHERE kind = \(WorkKind.image.rawValue) AND id = \(id) AND lease_until IS NULL")
        try EventStore.append(
          .imageReady, project: image.projectID, resource: id.uuid, data: ["name": image.name], in: session)
        guard let record = try ImageStore.find(id, in: session) else { throw ImageStore.absent(image.name) }
        var changed = Changed(
          reply: .json(record, etag: record.etag), resource: id.uuid, project: image.projectID)
        changed.effects.wake.formUnion([.events, .images])
        return changed
      }
    } catch let problem as Problem {
      let content = whole.content
      let isNeeded = try await Task {
        try await plane.database.run { session in try ImageStore.needs(content, in: session) }
      }.value
      if !isNeeded { await plane.images.remove(content) }
      throw problem
    }
  }

  /// A dry run: the content is judged, and nothing is kept.
  private func tried(_ call: Call, _ image: ImageRecord, _ limit: UploadLimit) async throws -> Reply {
    let digest = try Self.digest(call.string("Repr-Digest"), announced: image.expectedSHA256)
    let content = plane.environment.newUUID()
    let upload = try await plane.images.begin(content, size: nil)
    do {
      var size = 0
      for try await chunk in call.request.body {
        try limit.require(size + chunk.count)
        try await upload.append(chunk, at: Int64(size))
        size += chunk.count
      }
      let sha256 = await upload.sha256
      guard digest == nil || digest == sha256 else { throw Problem.checksum(sha256, announced: digest ?? "") }
      _ = try await upload.finish(size: Int64(size), sha256: sha256)
      let whole = ImageUploadWriter.Whole(
        content: content, size: size, sha256: sha256,
        report: try await plane.images.judge(content, limits: plane.settings.imageLimits))
      await plane.images.remove(content)
      return try await plane.change(call) { session in
        _ = try ImageStore.lock(call, in: session)
        try ImageStore.fill(image.id, whole, in: session)
        return try changed(image.id, call, image.projectID, in: session)
      }
    } catch {
      await Task {
        try? await upload.abort()
        await plane.images.remove(content)
      }.value
      throw error is BodyError ? Problem(.uploadIncomplete, "the upload broke off; nothing was to be kept") : error
    }
  }

  /// What the content must hash to, as was announced or as `Repr-Digest` (RFC 9530) says.
  static func digest(_ field: String?, announced: String?) throws -> String? {
    guard let field else { return announced }
    let encoded = field.dropFirst("sha-256=:".count).dropLast()
    guard let bytes = Data(base64Encoded: String(encoded)), bytes.count == 32 else {
      throw Problem(
        .badFormat, "Repr-Digest must be sha-256=:…: with 32 bytes in base64",
        errors: [.init(code: .badFormat, detail: "no SHA-256", parameter: "Repr-Digest")])
    }
    let sha256 = bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    if let announced, announced != sha256 {
      throw Problem.checksum(sha256, announced: announced)
    }
    return sha256
  }
}

extension Problem {
  static func checksum(_ found: String, announced: String) -> Problem {
    Problem(
      .checksumMismatch,
      "the content hashes to \(found), but was announced with \(announced); nothing was kept, send it again")
  }
}

extension ImageUploadWriter {
  /// Beats until cancelled.
  nonisolated func beating(_ environment: Environment) -> Task<Void, any Error> {
    Task {
      while true {
        try await environment.sleep(Self.beat)
        await beat()
      }
    }
  }
}
