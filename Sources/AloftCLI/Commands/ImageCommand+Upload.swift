import AloftModel
import ArgumentParser
import HTTPClient
import HTTPTypes
import JSON

extension ImageCommand {
  /// `aloft image upload`
  struct Upload: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Upload an image from a file.",
      discussion: """
        Computes the SHA-256 of the file, announces the image with it and sends the content. When the connection breaks, it \
        goes on where the server says; so does the same command again, which does nothing when all is there.
        """)

    @Argument(help: "The image's name.")
    var name: String

    @Argument(help: "A qcow2 or raw disk.", completion: .file())
    var file: String

    @OptionGroup var details: DetailOptions
    @OptionGroup var key: KeyOption
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let meter = TransferMeter(session.surroundings)
      let (size, sha256) = try await meter.measure("\(name): computing SHA-256") {
        report async throws(CommandFailure) in
        try await LocalFile(path: file).digest(progress: report)
      }
      let (announced, isNew) = try await announce(sha256, session)
      guard announced["state"]?.stringValue != Image.State.ready.rawValue else {
        await session.surroundings.say("image \(name) is there already, with the same content")
        return try await session.printer.changed([announced], as: .image)
      }
      let path = APIPath.path("images", announced["id"]?.stringValue ?? name, "content")
      let upload = ResumableUpload(
        session: session, path: path, query: session.query(project), file: file, size: size)
      let image: JSONValue
      do throws(CommandFailure) {
        image = try await meter.measure("\(name): uploading") { report async throws(CommandFailure) in
          try await upload.run(isNew: isNew, report)
        }
      } catch {
        var failure = error
        if failure.status == .serverFault {
          failure.detail = "the upload of \(file) did not finish: \(failure.detail)"
          failure.hint = "What has arrived is kept. `aloft image upload \(name) \(file)` goes on there."
        }
        throw failure
      }
      try await session.printer.changed([image], as: .image)
    }

    /// Announces the image. One of the same name that waits for this very content, or has it, is taken up: it is what an
    /// earlier try left.
    private func announce(
      _ sha256: String, _ session: Session
    ) async throws(CommandFailure) -> (image: JSONValue, isNew: Bool) {
      let call = APICall(
        .post, APIPath.path("images"), query: session.query(project), body: details.body(name: name, sha256: sha256),
        key: session.key(key))
      let response = try await session.api.raw(call)
      if response.status == 409 {
        let existing = try await session.api.send(
          APICall(.get, APIPath.path("images", name), query: session.query(project))
        ).json
        if existing["sha256"]?.stringValue == sha256 { return (existing, false) }
      }
      return (try session.api.accept(response, call).json, true)
    }
  }
}

/// Sends a file as an image's content, and goes on where the server says when the connection breaks.
struct ResumableUpload: Sendable {
  /// Attempts in a row after which nothing more had arrived.
  static let attempts = 6

  let session: Session
  let path: String
  let query: [(String, String)]
  let file: String
  let size: Int64

  func run(
    isNew: Bool, _ report: @escaping @Sendable (Int64, Int64) -> Void
  ) async throws(CommandFailure) -> JSONValue {
    var offset: Int64 = isNew ? 0 : try await kept()
    var failures = 0
    while true {
      let answer: HTTPClientResponse?
      var loss: CommandFailure?
      do throws(HTTPClientError) {
        answer = try await send(from: offset, report)
      } catch {
        guard Self.isLoss(error) else { throw CommandFailure(error, changes: false) }
        answer = nil
        loss = CommandFailure(error, changes: false)
      }
      if let answer {
        guard Self.mayGoOn(answer) else { return try session.api.accept(answer, call(.put)).json }
        loss = CommandFailure(
          status: answer.status, body: answer.body, requestID: answer.headers[.requestID], path: path)
      }
      guard failures < Self.attempts, !Task.isCancelled else { throw loss ?? .interrupted }
      await session.surroundings.sleep(API.pause(after: min(failures + 1, 6)))
      do throws(CommandFailure) {
        let now = try await kept()
        failures = now > offset ? 1 : failures + 1
        offset = min(now, size)
      } catch {
        // The server may be away for a while.
        guard error.status == .serverFault else { throw error }
        failures += 1
      }
    }
  }

  /// How many bytes the server has.
  private func kept() async throws(CommandFailure) -> Int64 {
    let call = APICall(.head, path, query: query)
    let response = try await session.api.raw(call)
    guard (200...299).contains(response.status) else {
      throw CommandFailure(
        status: response.status, body: response.body, requestID: response.headers[.requestID], path: path)
    }
    return response.headers[.uploadOffset].flatMap { Int64($0) } ?? 0
  }

  private func call(_ method: HTTPRequest.Method) -> APICall { APICall(method, path, query: query) }

  private func send(
    from offset: Int64, _ report: @escaping @Sendable (Int64, Int64) -> Void
  ) async throws(HTTPClientError) -> HTTPClientResponse {
    var request = session.api.request(call(offset == 0 ? .put : .patch))
    if offset == 0 {
      request.headers[.contentType] = "application/octet-stream"
    } else {
      request.headers[.contentType] = "application/partial-upload"
      request.headers[.uploadOffset] = "\(offset)"
      request.headers[.uploadComplete] = "?1"
    }
    // The server may take its time with the end of a large file, but not for ever.
    request.idleTimeout = .seconds(600)
    let size = size
    return try await session.api.client.upload(
      request, body: .file(path: file, offset: offset, length: size - offset)
    ) { progress in report(offset + progress.bytes, size) }
  }

  /// What another attempt may mend.
  private static func isLoss(_ error: HTTPClientError) -> Bool {
    switch error.kind {
    case .connectionLost, .sendFailed, .timeout, .connect, .protocolError: true
    default: false
    }
  }

  private static func mayGoOn(_ answer: HTTPClientResponse) -> Bool {
    if [502, 503, 504].contains(answer.status) { return true }
    let code = (try? JSONValue.parse(answer.body))?["code"]?.stringValue.flatMap(ProblemCode.init(rawValue:))
    switch code {
    case .uploadInUse, .uploadOffsetMismatch, .uploadIncomplete, .timeout: return true
    default: return false
    }
  }
}
