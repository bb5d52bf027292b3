import AloftCLI
import Execution
import Foundation
import JSON

/// A Python script beside this file as a process of its own, which ends with the pipe to its standard input.
final class CannedServer: Sendable {
  let url: String
  private let input: FileHandle

  struct Failure: Error { let reason: String }

  init(_ name: String = "canned_server") async throws {
    guard let script = Bundle.module.path(forResource: name, ofType: "py") else {
      throw Failure(reason: "\(name).py is not in the bundle")
    }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["python3", "-I", "-S", script]
    let input = Pipe()
    let output = Pipe()
    process.standardInput = input
    process.standardOutput = output
    try process.run()
    self.input = input.fileHandleForWriting
    let reader = output.fileHandleForReading
    // The port comes when Python has started; waiting for it must not hold a thread of the pool.
    let line = await DedicatedThread(name: "canned-port").run {
      String(decoding: reader.availableData, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    }
    guard let port = Int(line) else { throw Failure(reason: "the server did not start: '\(line)'") }
    url = "http://127.0.0.1:\(port)"
  }

  deinit { try? input.close() }

  /// Runs `aloft` against this server.
  func aloft(
    _ arguments: String..., environment: [String: String] = [:], terminal: Bool = false,
    tick: Duration = .milliseconds(1)
  ) async -> Outcome {
    await run(arguments, environment: environment, terminal: terminal, tick: tick, output: MemorySink())
  }

  func run(
    _ arguments: [String], environment: [String: String] = [:], terminal: Bool = false,
    tick: Duration = .milliseconds(1), output: MemorySink
  ) async -> Outcome {
    let environment = ["ALOFT_URL": url, "ALOFT_TOKEN": "good"].merging(environment) { $1 }
    return await Outcome.of(arguments, environment: environment, terminal: terminal, tick: tick, output: output)
  }

  /// What the server was asked so far.
  func requests() async throws -> [JSONValue] {
    let outcome = await run(["api", "GET", "/__requests"], output: MemorySink())
    return try JSONValue.parse(outcome.output).arrayValue ?? []
  }
}

/// How a run of `aloft` ended and what it wrote.
struct Outcome: Sendable {
  let status: CommandStatus
  let output: String
  let errors: String

  /// Runs `aloft` with a clock of its own: each look at it moves it by `tick`, and sleeping takes no time.
  static func of(
    _ arguments: [String], environment: [String: String] = [:], terminal: Bool = false,
    tick: Duration = .milliseconds(1), output: MemorySink = MemorySink(), typed: [String: String] = [:],
    now: TimeInterval = 1_767_323_105, onError: (@Sendable (String) -> Void)? = nil
  ) async -> Outcome {
    let errors = MemorySink(isTerminal: terminal, onWrite: onError)
    let clock = Lock(Duration.zero)
    let keys = Lock(0)
    let surroundings = Surroundings(
      environment: environment, output: output, errors: errors,
      now: { Date(timeIntervalSince1970: now) },
      uptime: {
        clock.withLock { now in
          now += tick
          return now
        }
      },
      sleep: { _ in await Task.yield() },
      randomKey: {
        keys.withLock { count in
          count += 1
          return "random-\(count)"
        }
      }, ask: { prompt, _ in typed[prompt] }, hostName: "desk")
    let status = await CommandLineTool.run(arguments, in: surroundings)
    return Outcome(status: status, output: output.text, errors: errors.text)
  }
}

/// Keeps what is written to it.
final class MemorySink: ByteSink {
  let isTerminal: Bool
  let columns = 120
  private let written = Lock([UInt8]())
  private let onWrite: (@Sendable (String) -> Void)?

  init(isTerminal: Bool = false, onWrite: (@Sendable (String) -> Void)? = nil) {
    self.isTerminal = isTerminal
    self.onWrite = onWrite
  }

  var bytes: [UInt8] { written.withLock { $0 } }
  var text: String { String(decoding: bytes, as: UTF8.self) }

  func write(_ bytes: [UInt8]) async throws(CommandFailure) {
    written.withLock { $0 += bytes }
    onWrite?(text)
  }
}
