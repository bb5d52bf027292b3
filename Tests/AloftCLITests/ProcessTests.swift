import Execution
import Foundation
import Testing

/// The program itself: what only a process can show.
@Suite struct ProcessTests {
  @Test("Ctrl-C ends a wait with 130 and says that the operation goes on")
  func interrupt() async throws {
    let server = try await CannedServer()
    let aloft = try Launched(["operation", "wait", "op_forever"], server: server)
    // Its first progress line says that it waits.
    #expect(await aloft.firstError().contains("op_forever: vm.create running"))
    kill(aloft.pid, SIGINT)
    let end = await aloft.end()
    #expect(end.code == 130)
    #expect(end.errors.contains("aloft: interrupted; vm.create goes on"))
  }

  @Test("a reader that goes away ends the program quietly, as SIGPIPE does")
  func closedPipe() async throws {
    let server = try await CannedServer()
    // More text than a pipe holds.
    let aloft = try Launched(["completion", "bash"], server: server)
    aloft.closeOutput()
    let end = await aloft.end()
    #expect(end.code == SIGPIPE || end.code == 128 + SIGPIPE)
    #expect(end.errors.isEmpty)
  }

  @Test("standard input is a request's body")
  func standardInput() async throws {
    let server = try await CannedServer()
    let aloft = try Launched(
      ["api", "POST", "/v1/vms", "--body", "-"], server: server, input: #"{"name":"w","image":"i"}"#)
    #expect(await aloft.end().code == 0)
    #expect(try await server.requests().last?["body"] == ["name": "w", "image": "i"])
  }
}

/// The built program as a process of its own.
private final class Launched: Sendable {
  private let process: Process
  private let output = Pipe()
  private let errors = Pipe()
  private let ended: AsyncStream<Int32>
  private let reader = DedicatedThread(name: "aloft-stderr")

  var pid: pid_t { process.processIdentifier }

  init(_ arguments: [String], server: CannedServer, input: String = "") throws {
    process = Process()
    // Products lie beside the bundles of the tests' resources.
    process.executableURL = Bundle.module.bundleURL.deletingLastPathComponent().appending(path: "aloft")
    process.arguments = arguments
    process.environment = ["ALOFT_URL": server.url, "ALOFT_TOKEN": "good"]
    process.standardOutput = output
    process.standardError = errors
    let standardInput = Pipe()
    process.standardInput = standardInput
    let (ended, continuation) = AsyncStream.makeStream(of: Int32.self)
    self.ended = ended
    process.terminationHandler = { process in
      continuation.yield(process.terminationStatus)
      continuation.finish()
    }
    try process.run()
    try standardInput.fileHandleForWriting.write(contentsOf: Data(input.utf8))
    try standardInput.fileHandleForWriting.close()
  }

  func closeOutput() { try? output.fileHandleForReading.close() }

  func firstError() async -> String {
    let handle = errors.fileHandleForReading
    return await reader.run { String(decoding: handle.availableData, as: UTF8.self) }
  }

  /// Exit code, or the number of the signal that ended it, and what was left to read of its messages.
  func end() async -> (code: Int32, errors: String) {
    var code: Int32 = -1
    for await status in ended { code = status }
    let handle = errors.fileHandleForReading
    let text = await reader.run { String(decoding: (try? handle.readToEnd()) ?? Data(), as: UTF8.self) }
    return (code, text)
  }
}
