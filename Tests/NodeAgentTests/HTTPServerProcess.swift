import Execution
import Foundation

/// `control_plane.py` beside this file, running until this object goes.
final class HTTPServerProcess: Sendable {
  let url: String
  let directory: TemporaryDirectory
  private let input: Pipe

  private init(url: String, directory: TemporaryDirectory, input: Pipe) {
    self.url = url
    self.directory = directory
    self.input = input
  }

  deinit { try? input.fileHandleForWriting.close() }

  static func start() async throws -> HTTPServerProcess {
    let directory = try TemporaryDirectory()
    let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(
      path: "control_plane.py"
    ).path
    return try await DedicatedThread(name: "control-plane").run {
      let process = Process()
      process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
      process.arguments = ["python3", script, directory.path]
      let (input, output) = (Pipe(), Pipe())
      process.standardInput = input
      process.standardOutput = output
      try process.run()
      let port = String(decoding: output.fileHandleForReading.availableData, as: UTF8.self)
        .trimmingCharacters(in: .whitespacesAndNewlines)
      return HTTPServerProcess(url: "http://127.0.0.1:\(port)", directory: directory, input: input)
    }
  }

  func answer(_ name: String, _ status: Int = 200, _ body: [UInt8]) throws {
    try Data(Array("\(status)\n".utf8) + body).write(
      to: URL(fileURLWithPath: directory.path + "/answer_\(name)"))
  }

  /// Method and path, the log's start, and the body of the last request.
  func got(_ name: String) throws -> (line: String, start: String, body: [UInt8]) {
    let data = try Data(contentsOf: URL(fileURLWithPath: directory.path + "/got_\(name)"))
    let parts = data.split(
      separator: UInt8(ascii: "\n"), maxSplits: 2, omittingEmptySubsequences: false)
    return (
      String(decoding: parts[0], as: UTF8.self), String(decoding: parts[1], as: UTF8.self),
      Array(parts[2])
    )
  }
}
