import ArgumentParser
import Foundation
import Glibc
import HTTPClient
import HTTPTypes
import JSON

extension ImageCommand {
  /// `aloft image download`
  struct Download: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Download an image into a file.",
      discussion: """
        The content comes into FILE.part, which becomes FILE when all of it is there and its SHA-256 is right. The same command \
        again goes on where an earlier one broke off.
        """)

    @Argument(help: "The image, by id or name.")
    var name: String

    @Argument(help: "The file; it must not be there yet.", completion: .file())
    var file: String

    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      guard access(file, F_OK) != 0 else { throw CommandFailure(.usage, "\(file) is there already") }
      let image = try await session.api.send(
        APICall(.get, APIPath.path("images", name), query: session.query(project))
      ).json
      guard let sha256 = image["sha256"]?.stringValue, let size = image["size_bytes"]?.intValue else {
        throw CommandFailure(.refused, "image \(name) has no content yet")
      }
      let part = file + ".part"
      let target = try OpenPart(part)
      let path = APIPath.path("images", image["id"]?.stringValue ?? name, "content")
      let meter = TransferMeter(session.surroundings)
      try await meter.measure("\(name): downloading") { report async throws(CommandFailure) in
        try await fetch(path, into: target, Int64(size), sha256, session, report)
      }
      let found = try await meter.measure("\(name): computing SHA-256") { report async throws(CommandFailure) in
        try await LocalFile(path: part).digest(progress: report)
      }
      guard found.sha256 == sha256 else {
        unlink(part)
        throw CommandFailure(.serverFault, "what came is not the image: its SHA-256 is \(found.sha256), not \(sha256)")
      }
      guard rename(part, file) == 0 else {
        throw CommandFailure(.usage, "\(file) cannot be written: \(String(cString: strerror(errno)))")
      }
      await session.surroundings.say("image \(name) is in \(file)")
    }

    private func fetch(
      _ path: String, into target: OpenPart, _ size: Int64, _ sha256: String, _ session: Session,
      _ report: @escaping @Sendable (Int64, Int64) -> Void
    ) async throws(CommandFailure) {
      var failures = 0
      while true {
        let have = target.size
        if have == size { return }
        guard have < size else { throw CommandFailure(.usage, "\(file).part is longer than the image; remove it") }
        let call = APICall(.get, path, query: session.query(project))
        var request = session.api.request(call)
        request.headers[.accept] = "application/octet-stream"
        request.idleTimeout = .seconds(60)
        if have > 0 {
          request.headers[.range] = "bytes=\(have)-"
          request.headers[.ifRange] = "\"\(sha256)\""
        }
        var lost: HTTPClientError?
        var answer: HTTPClientDownload?
        do throws(HTTPClientError) {
          answer = try await session.api.client.download(
            request, to: target.descriptor, offset: have, maxBytes: size - have
          ) { progress in report(have + progress.bytes, size) }
        } catch { lost = error }
        if let answer, !(200...299).contains(answer.status) {
          throw CommandFailure(
            status: answer.status, body: answer.errorBody, requestID: answer.headers[.requestID], path: path)
        }
        if let lost {
          failures = target.size > have ? 1 : failures + 1
          guard failures < ResumableUpload.attempts, !Task.isCancelled, Self.isLoss(lost) else {
            throw CommandFailure(lost, changes: false)
          }
          await session.surroundings.sleep(API.pause(after: failures))
        }
      }
    }

    private static func isLoss(_ error: HTTPClientError) -> Bool {
      switch error.kind {
      case .connectionLost, .timeout, .connect: true
      default: false
      }
    }
  }
}

/// A file that is being downloaded into.
private final class OpenPart: Sendable {
  let descriptor: Int32

  init(_ path: String) throws(CommandFailure) {
    descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else {
      throw CommandFailure(.usage, "\(path) cannot be written: \(String(cString: strerror(errno)))")
    }
  }

  deinit { close(descriptor) }

  var size: Int64 {
    var status = stat()
    return fstat(descriptor, &status) == 0 ? Int64(status.st_size) : 0
  }
}
