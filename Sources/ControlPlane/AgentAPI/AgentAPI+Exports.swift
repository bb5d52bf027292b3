import AloftModel
import Foundation
import HTTP
import HTTPTypes
import Postgres

/// What agents send of images that are made of volumes.
extension AgentAPI {
  /// Seconds between two looks whether it is still wanted.
  private static let showing: TimeInterval = 1

  /// HEAD: how far it is. PATCH: all from there on. DELETE: begin anew.
  func exportContent(
    _ text: String, node: NodeID, _ method: HTTPRequest.Method, _ request: Request
  ) async throws -> Reply {
    let (capture, upload) = try await wanted(text, node)
    switch method {
    case .head:
      var reply = Reply.noContent
      reply.headers[.uploadOffset] = "\(upload?.durable ?? 0)"
      return reply
    case .patch: return try await receive(request, capture)
    case .delete:
      try await discard(upload, of: capture.image.id)
      return .noContent
    default: throw notFound
    }
  }

  /// The image, if the node is to send it.
  private func wanted(_ text: String, _ node: NodeID) async throws -> (ImageCapture, ImageUploadRecord?) {
    guard let id = ImageID(text) else { throw notFound }
    let found = try await plane.database.run { session -> (ImageRecord, ImageCaptureRecord, ImageUploadRecord?)? in
      guard let capture = try ImageCaptureStore.find(id, on: node, in: session),
        let image = try ImageStore.find(id, in: session)
      else { return nil }
      return (image, capture, try ImageUploadStore.find(id, in: session))
    }
    guard let (image, capture, upload) = found else {
      throw Problem(.notFound, "image \(id) is not wanted from this node, or not any more")
    }
    return (ImageCapture(plane: plane, image: image, capture: capture), upload)
  }

  private func discard(_ upload: ImageUploadRecord?, of image: ImageID) async throws {
    guard let upload else { return }
    let writer = plane.environment.newUUID()
    try await plane.database.transaction { session in
      try ImageStore.lockEmpty(image, in: session)
      if try ImageUploadStore.claim(image, for: writer, in: session) != nil {
        try ImageUploadStore.end(image, writer: writer, in: session)
      }
    }
    await plane.images.discard(upload.content, state: upload.state)
  }

  private func receive(_ request: Request, _ capture: ImageCapture) async throws -> Reply {
    guard let offset = request.headers[.uploadOffset].flatMap({ Int($0) }), offset >= 0,
      let length = request.body.declaredLength.map({ Int($0) }), request.headers[.uploadComplete] == "?1"
    else {
      throw Problem(.badFormat, "all bytes from Upload-Offset on must come, with their Content-Length")
    }
    let (size, image) = (offset + length, capture.image)
    let digest = try ImageHandlers.digest(request.headers[.reprDigest], announced: nil)
    let usage = try await plane.database.run { session in
      try QuotaStore.usage(.imageBytes, of: image.projectID, in: session)
    }
    let limit = UploadLimit(most: plane.settings.imageLimit, usage: usage, own: image.storedBytes)
    try await capture.ending { try limit.require(size) }
    let writer = try await ImageUploadWriter.open(image.id, .at(offset, size: size), plane: plane)
    let beats = writer.beating(plane.environment)
    defer { beats.cancel() }
    do {
      try await capture.ending { try await take(request.body, size, into: writer, capture) }
      try await capture.finish(writer, expecting: digest)
      await writer.close()
      return .noContent
    } catch {
      // The agent may have left, and with it this task's right to go on.
      let kept = await Task { await writer.close() }.value
      switch error {
      case BodyError.incomplete, BodyError.timedOut, BodyError.cancelled, BodyError.unavailable:
        throw Problem.incomplete(kept)
      default: throw error
      }
    }
  }

  private func take(
    _ body: RequestBody, _ size: Int, into writer: ImageUploadWriter, _ capture: ImageCapture
  ) async throws {
    var done = await writer.received
    var shown = -Self.showing
    for try await bytes in body {
      done += bytes.count
      try await writer.append(bytes)
      let now = plane.environment.uptime()
      guard now - shown >= Self.showing else { continue }
      shown = now
      let bytesDone = done
      let image = capture.image.id
      _ = try await plane.database.run { session in try ImageCaptureStore.count(image, failed: false, in: session) }
      try await show(capture, "sending the image", done: bytesDone, of: size)
    }
  }

  private func show(_ capture: ImageCapture, _ words: String, done: Int?, of total: Int?) async throws {
    guard let operation = capture.capture.operation else { return }
    let isWanted = try await plane.database.run { session in
      try ImageCaptureStore.show(operation, words, done: done, of: total, in: session)
    }
    guard isWanted else { throw Problem(.notFound, "the image is not wanted any more") }
  }

  /// How far a node is before it sends anything, or what keeps it from that.
  func take(_ report: ExportReport, of text: String, node: NodeID) async throws -> Reply {
    let (capture, _) = try await wanted(text, node)
    let activity = AgentText.shortened(report.activity)
    guard let problem = report.problem else {
      try await show(capture, activity, done: report.bytesDone, of: report.bytesTotal)
      return .noContent
    }
    let (image, detail) = (capture.image.id, AgentText.shortened(problem.detail))
    let failures = try await plane.database.run { session in
      try ImageCaptureStore.count(image, failed: true, in: session)
    }
    // What is damaged does not mend itself.
    if problem.code == .volumeDamaged || failures >= ImageCaptureStore.mostFailures {
      try await capture.end(.failed(problem.code, detail))
    } else {
      try await show(capture, "another attempt: \(detail)", done: nil, of: nil)
    }
    return .noContent
  }
}
