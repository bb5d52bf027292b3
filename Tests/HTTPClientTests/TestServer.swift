import Execution
import Foundation
import Glibc

@testable import HTTPClient

/// `server.py` beside this file, running until this object goes.
final class TestServer: Sendable {
  let port: Int
  /// Closing it (also by the end of the test process) ends the server.
  private let input: Pipe

  private init(port: Int, input: Pipe) {
    self.port = port
    self.input = input
  }

  var http: String { "http://127.0.0.1:\(port)" }
  var https: String { "https://127.0.0.1:\(port)" }

  deinit { try? input.fileHandleForWriting.close() }

  static func start(_ arguments: [String] = []) async throws -> TestServer {
    let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
      "server.py"
    ).path
    return try await DedicatedThread(name: "test-server").run {
      let process = Process()
      process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
      process.arguments = ["python3", script] + arguments
      let input = Pipe()
      let output = Pipe()
      process.standardInput = input
      process.standardOutput = output
      try process.run()
      let line = String(decoding: output.fileHandleForReading.availableData, as: UTF8.self)
      return TestServer(
        port: Int(line.trimmingCharacters(in: .whitespacesAndNewlines)) ?? 0, input: input)
    }
  }

  private static let sharedStart = Task { try await start() }

  /// One plain server for all tests that only need paths of it.
  static func shared() async throws -> TestServer { try await sharedStart.value }
}

/// A directory of its own, removed with the object.
final class TemporaryDirectory: Sendable {
  let path: String

  init() throws {
    path =
      FileManager.default.temporaryDirectory.appendingPathComponent(
        "httpclient-\(UUID().uuidString.prefix(8))"
      ).path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func file(_ name: String) -> String { path + "/" + name }
}

/// Runs a program to its end.
func run(_ arguments: [String], in directory: String) async throws {
  try await DedicatedThread(name: "test-run").run {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = arguments
    process.currentDirectoryURL = URL(fileURLWithPath: directory)
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    try process.run()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else { throw RunFailure(arguments: arguments) }
  }
}

struct RunFailure: Error { let arguments: [String] }

/// Bytes `start..<start + count` of the sequence the server sends and checks: byte k is k % 251.
func pattern(from start: Int64 = 0, count: Int) -> [UInt8] {
  var bytes = [UInt8](repeating: 0, count: count)
  var value = UInt8(start % 251)
  bytes.withUnsafeMutableBufferPointer { buffer in
    for index in buffer.indices {
      buffer[index] = value
      value = value == 250 ? 0 : value + 1
    }
  }
  return bytes
}

/// Checks long runs against the pattern without a loop over bytes.
struct PatternCheck {
  private static let block = pattern(count: 251 * 16_384)
  private(set) var position: Int64 = 0
  private(set) var holds = true

  init(from position: Int64 = 0) { self.position = position }

  mutating func feed(_ bytes: [UInt8]) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let start = Int(position % 251)
      let count = min(rest.count, Self.block.count - start)
      holds = holds && Self.same(rest.prefix(count), Self.block[start..<start + count])
      rest = rest.dropFirst(count)
      position += Int64(count)
    }
  }

  private static func same(_ left: ArraySlice<UInt8>, _ right: ArraySlice<UInt8>) -> Bool {
    left.withUnsafeBytes { left in
      right.withUnsafeBytes { right in
        guard let one = left.baseAddress, let other = right.baseAddress else { return left.count == right.count }
        return left.count == right.count && memcmp(one, other, left.count) == 0
      }
    }
  }
}
