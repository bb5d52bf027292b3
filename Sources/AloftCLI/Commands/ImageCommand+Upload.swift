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
        Computes the SHA-256 of the file, announces the image with it and sends the content. The server keeps nothing of \
        an upload that breaks off: the same command again uploads the whole file, and does nothing when it is all there.
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
      let announced = try await announce(sha256, session)
      guard announced["state"]?.stringValue != Image.State.ready.rawValue else {
        await session.surroundings.say("image \(name) is there already, with the same content")
        return try await session.printer.changed([announced], as: .image)
      }
      let path = APIPath.path("images", announced["id"]?.stringValue ?? name, "content")
      let image = try await meter.measure("\(name): uploading") { report async throws(CommandFailure) in
        try await send(path, size: size, session, report)
      }
      try await session.printer.changed([image], as: .image)
    }

    /// Announces the image. One of the same name that waits for this very content, or has it, is taken up: it is what an
    /// earlier try left.
    private func announce(_ sha256: String, _ session: Session) async throws(CommandFailure) -> JSONValue {
      let call = APICall(
        .post, APIPath.path("images"), query: session.query(project), body: details.body(name: name, sha256: sha256),
        key: session.key(key))
      let response = try await session.api.raw(call)
      if response.status == 409 {
        let existing = try await session.api.send(
          APICall(.get, APIPath.path("images", name), query: session.query(project))
        ).json
        if existing["sha256"]?.stringValue == sha256 { return existing }
      }
      return try session.api.accept(response, call).json
    }

    private func send(
      _ path: String, size: Int64, _ session: Session, _ report: @escaping @Sendable (Int64, Int64) -> Void
    ) async throws(CommandFailure) -> JSONValue {
      let call = APICall(.put, path, query: session.query(project))
      var request = session.api.request(call)
      request.headers[.contentType] = "application/octet-stream"
      // The server may take its time with the end of a large file, but not for ever.
      request.idleTimeout = .seconds(600)
      let response: HTTPClientResponse
      do throws(HTTPClientError) {
        response = try await session.api.client.upload(request, body: .file(path: file, length: size)) { progress in
          report(progress.bytes, size)
        }
      } catch {
        var failure = CommandFailure(error, changes: false)
        if failure.status != .usage {
          failure.detail = "the upload of \(file) did not finish: \(failure.detail)"
          failure.hint = "Nothing was kept. `aloft image upload \(name) \(file)` starts anew."
        }
        throw failure
      }
      return try session.api.accept(response, call).json
    }
  }
}
