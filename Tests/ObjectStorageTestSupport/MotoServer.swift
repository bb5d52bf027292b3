import Execution
import Foundation
import HTTPClient
import HTTPTypes
import TestSupport

/// moto's S3 server, of a private Python environment that the first test makes. It runs until this object goes, or the tests
/// end, however they do: it ends with its standard input.
package final class MotoServer: Sendable {
  package let port: Int
  private let input: Pipe

  private init(port: Int, input: Pipe) {
    self.port = port
    self.input = input
  }

  deinit { try? input.fileHandleForWriting.close() }

  package var endpoint: String { "http://127.0.0.1:\(port)" }

  /// Lets the next `count` requests whose line contains `match` fail; status 0: the connection breaks in the middle.
  package func fail(_ count: Int, status: Int, match: String, _ http: HTTPClient) async throws {
    let match = match.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? match
    let request = HTTPClientRequest(
      method: .post, url: "\(endpoint)/fail?count=\(count)&status=\(status)&match=\(match)")
    let response = try await http.send(request, deadline: .seconds(60))
    guard response.status == 204 else {
      throw CommandFailure(command: "fail", status: Int32(response.status), output: "")
    }
  }

  private static let shared = Task { try await start() }

  /// One server for all tests; each has a bucket of its own.
  package static func running() async throws -> MotoServer { try await shared.value }

  private static func start() async throws -> MotoServer {
    let python = try await environment()
    let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "moto_server.py").path
    return try await DedicatedThread(name: "moto").run {
      let process = Process()
      process.executableURL = URL(fileURLWithPath: python)
      process.arguments = [script]
      let (input, output) = (Pipe(), Pipe())
      process.standardInput = input
      process.standardOutput = output
      try process.run()
      let line = String(decoding: output.fileHandleForReading.availableData, as: UTF8.self)
      guard let port = Int(line.trimmingCharacters(in: .whitespacesAndNewlines)) else {
        throw CommandFailure(command: "moto_server.py", status: 1, output: line)
      }
      return MotoServer(port: port, input: input)
    }
  }

  /// The Python of an environment with moto, made by `scripts/test.d/moto` where it is not there yet.
  private static func environment() async throws -> String {
    let root = URL(fileURLWithPath: #filePath).resolvingSymlinksInPath().deletingLastPathComponent()
      .deletingLastPathComponent()
      .deletingLastPathComponent()
    return try await run(root.appending(path: "scripts/test.d/moto").path).trimmingCharacters(
      in: .whitespacesAndNewlines)
  }

  /// Makes an empty bucket and returns its name.
  package func makeBucket(_ http: HTTPClient) async throws -> String {
    let bucket = "bucket-\(UUID().uuidString.lowercased())"
    // No signature is looked at here.
    let authorization =
      "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request,SignedHeaders=host,Signature=0"
    let created = try await http.send(
      HTTPClientRequest(method: .put, url: "\(endpoint)/\(bucket)", headers: [.authorization: authorization]),
      deadline: .seconds(60))
    guard created.status == 200 else {
      throw CommandFailure(command: "making a bucket", status: Int32(created.status), output: "")
    }
    return bucket
  }
}
