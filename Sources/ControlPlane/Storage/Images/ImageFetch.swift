import AloftModel
import Foundation
import HTTPClient
import HTTPTypes
import Postgres

/// One attempt to fetch a content from where the last one broke off.
///
/// Invariants:
/// - Every URL, that of each redirect too, is judged before it is asked, and once more where the connection is made.
/// - Bytes are added to earlier ones only if the server says that they are of the same content (`If-Range`).
struct ImageFetch: Sendable {
  private static let mostRedirects = 5
  private static let mostFailures = 10
  private static let idle = Duration.seconds(30)
  /// Seconds between two looks whether it is still wanted.
  private static let showing: TimeInterval = 1

  let plane: Plane
  let image: ImageRecord
  let fetch: ImageFetchRecord
  let upload: ImageUploadRecord?

  /// Why it cannot come to a good end.
  private struct Fatal: Error {
    var failure: OperationFailure
    var detail: String

    init(_ failure: OperationFailure, _ detail: String) {
      self.failure = failure
      self.detail = detail
    }
  }

  private static let late = Fatal(
    .deadlineExceeded, "the content did not come in \(ImageFetchStore.seconds / 3600) hours")

  /// Nobody wants it any more.
  private struct Unwanted: Error {}

  /// Returns when to try again; nil: it has ended.
  func run() async throws -> Duration? {
    if fetch.isLate {
      return try await fail(Self.late)
    }
    let before = upload?.durable ?? 0
    do {
      try await attempt()
      return nil
    } catch let fatal as Fatal {
      return try await fail(fatal)
    } catch is Unwanted {
      return nil
    } catch let problem as Problem {
      switch problem.code {
      case .imageInvalid: return try await fail(Fatal(.imageInvalid, problem.detail))
      case .checksumMismatch: return try await fail(Fatal(.checksumMismatch, problem.detail))
      case .quotaExceeded: return try await fail(Fatal(.quotaExceeded, problem.detail))
      case .bodyTooLarge: return try await fail(Fatal(.fetchRefused, problem.detail))
      case .uploadInUse: return .seconds(3)
      default: return try await again(problem.detail, since: before)
      }
    } catch let error as HTTPClientError {
      if case .forbiddenAddress = error.kind {
        return try await fail(
          Fatal(.fetchRefused, "\(error.origin) is at an address that this cloud does not go to; use another URL"))
      }
      if Task.isCancelled { throw CancellationError() }
      return try await again("\(error.origin): \(error.detail)", since: before)
    } catch {
      // The database has the last word on the quota.
      let problem = Problem.of(error)
      guard problem.code == .quotaExceeded else { throw error }
      return try await fail(Fatal(.quotaExceeded, problem.detail))
    }
  }

  /// The next attempt, if there is one.
  private func again(_ why: String, since before: Int) async throws -> Duration? {
    let (id, failures) = (image.id, fetch.failures)
    let now = try await plane.database.run { session in try ImageUploadStore.find(id, in: session)?.durable ?? 0 }
    let broughtSome = now > before
    if !broughtSome, failures + 1 >= Self.mostFailures {
      return try await fail(Fatal(.fetchFailed, "\(Self.mostFailures) attempts brought nothing, the last: \(why)"))
    }
    let operation = fetch.operation
    try await plane.database.transaction { session in
      try ImageFetchStore.failed(id, broughtSome: broughtSome, in: session)
      try session.execute(
        OperationStore.applying(.running(waitingFor: "another attempt: \(why)", progress: nil), to: operation.uuid))
    }
    return Backoff.pause(attempt: broughtSome ? 1 : failures + 2, random: plane.environment.random())
  }

  /// Ends it. The image stays and waits for a content.
  private func fail(_ fatal: Fatal) async throws -> Duration? {
    let (image, operation) = (image, fetch.operation)
    let effects = try await plane.database.transaction { session -> Effects in
      var effects = Effects()
      try ImageFetchStore.end(
        image.id, operation, .failed(fatal.failure, fatal.detail), project: image.projectID, in: session, &effects)
      return effects
    }
    plane.wakeups.signal(effects.wake)
    return nil
  }

  // MARK: One attempt

  private func attempt() async throws {
    // All bytes were there already: what is left is to look at them.
    if upload?.sha256 != nil {
      return try await end(try await ImageUploadWriter.open(image.id, .wherever, plane: plane))
    }
    let have = fetch.validator == nil ? 0 : upload?.durable ?? 0
    let response = try await ask(from: have)
    let validator = Self.validator(response.headers)
    let (start, total) = try Self.start(response, have)
    let usage = try await plane.database.run { [image] session in
      try QuotaStore.usage(.imageBytes, of: image.projectID, in: session)
    }
    let limit = UploadLimit(most: plane.settings.imageLimit, usage: usage, own: image.storedBytes)
    try limit.require(total ?? 0)
    let writer = try await ImageUploadWriter.open(image.id, start, plane: plane)
    let beats = writer.beating(plane.environment)
    defer { beats.cancel() }
    do {
      try await plane.database.run { [image] session in
        try ImageFetchStore.begin(image.id, validator: validator, in: session)
      }
      try await take(response.body, into: writer, limit, total)
    } catch {
      _ = await Task { await writer.close() }.value
      throw error
    }
    try await end(writer)
  }

  private func take(
    _ body: HTTPClientResponseBody, into writer: ImageUploadWriter, _ limit: UploadLimit, _ total: Int?
  ) async throws {
    var done = await writer.received
    var shown = -Self.showing
    for try await bytes in body {
      done += bytes.count
      try limit.require(done)
      try await writer.append(bytes)
      let now = plane.environment.uptime()
      if now - shown >= Self.showing {
        shown = now
        try await show(done, total)
      }
    }
    try await show(done, total)
  }

  private func show(_ done: Int, _ total: Int?) async throws {
    let operation = fetch.operation
    let wish = try await plane.database.run { session in
      try ImageFetchStore.show(operation, done: done, of: total, in: session)
    }
    switch wish {
    case .wanted: return
    case .cancelled: throw Unwanted()
    case .late: throw Self.late
    }
  }

  private func end(_ writer: ImageUploadWriter) async throws {
    let beats = writer.beating(plane.environment)
    defer { beats.cancel() }
    let (image, operation) = (image, fetch.operation)
    do {
      let whole = try await writer.finish(expecting: image.expectedSHA256)
      let changed = try await ImageHandlers(plane: plane).accept(whole, of: image.id) { fill in
        try await plane.database.transaction { session in
          var changed = try fill(session)
          try ImageFetchStore.end(
            image.id, operation, .succeeded, project: image.projectID, in: session, &changed.effects)
          return changed
        }
      }
      await writer.close()
      plane.wakeups.signal(changed.effects.wake)
    } catch {
      _ = await Task { await writer.close() }.value
      throw error
    }
  }

  // MARK: HTTP

  /// Asks for the content from a byte on, wherever it is by now.
  private func ask(from offset: Int) async throws -> HTTPClientStreamingResponse {
    var url = fetch.url
    for _ in 0...Self.mostRedirects {
      if let refusal = plane.outgoing.refusal(of: url) {
        throw Fatal(
          .fetchRefused, "the URL leads to one that this cloud does not go to (\(refusal.words)); use another")
      }
      var request = HTTPClientRequest(url: url, idleTimeout: Self.idle)
      // What is compressed on the way is not what was hashed.
      request.headers[.acceptEncoding] = "identity"
      if offset > 0, let validator = fetch.validator {
        request.headers[.range] = "bytes=\(offset)-"
        request.headers[.ifRange] = validator
      }
      let response = try await plane.outgoing.stream(request)
      switch response.status {
      case 200, 206: return response
      case 301, 302, 303, 307, 308:
        guard let location = response.headers[.location],
          let next = URL(string: location, relativeTo: URL(string: url))?.absoluteString
        else { throw Fatal(.fetchRefused, "the server answers with a redirect that leads nowhere") }
        url = next
      // The content is not as long as it was.
      case 416: throw Problem(.unavailable, "the server has another content now")
      case 408, 425, 429, 500...599: throw Problem(.unavailable, "the server answers \(response.status)")
      default: throw Fatal(.fetchRefused, "the server answers \(response.status); look whether the URL is right")
      }
    }
    throw Fatal(.fetchRefused, "more than \(Self.mostRedirects) redirects")
  }

  /// Where the bytes of an answer belong, and how many there will be in all.
  private static func start(
    _ response: HTTPClientStreamingResponse, _ have: Int
  ) throws -> (ImageUploadWriter.Start, Int?) {
    if response.status == 206 {
      // RFC 9110, 14.4: `bytes 100-199/200`.
      let field = response.headers[.contentRange] ?? ""
      let parts = field.dropFirst("bytes ".count).split(whereSeparator: { "-/".contains($0) }).map { Int($0) }
      guard field.hasPrefix("bytes "), parts.count == 3, parts[0] == have else {
        throw Fatal(.fetchRefused, "the server answers with another range than it was asked for")
      }
      return (.at(have, size: parts[2]), parts[2])
    }
    let length = response.headers[.contentLength].flatMap { Int($0) }
    return (.anew(size: length), length)
  }

  /// What names the content in `If-Range` (RFC 9110, 13.1.5): a strong entity tag, else a date.
  private static func validator(_ headers: HTTPFields) -> String? {
    if let tag = headers[.eTag], tag.hasPrefix("\"") { return tag }
    return headers[.lastModified]
  }
}
