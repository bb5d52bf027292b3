import CLinux
import Foundation
import HTTP
import HTTPTypes
import Logging
import Testing
import TestSupport

let quiet = TestLogs.logger("http")

func makeDirectory(_ path: String) throws {
  try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
}

/// Runs `body` with a server on a free loopback port; shuts it down afterwards.
func withServer(
  limits: Limits = Limits(), tls: TLSConfiguration? = nil, immediate: ImmediateResponder? = nil,
  configure: (inout ServerConfiguration) -> Void = { _ in }, responder: @escaping Responder,
  _ body: (Server, Int) async throws -> Void
) async throws {
  var configuration = ServerConfiguration(listeners: [.ip(host: "127.0.0.1", port: 0, tls: tls)], limits: limits)
  configure(&configuration)
  let server = Server(
    configuration: configuration, logger: quiet,
    immediate: immediate, responder: responder)
  let addresses = try await server.start()
  do {
    try await body(server, addresses.first?.port ?? 0)
    await server.shutdown(grace: .seconds(5))
  } catch {
    await server.shutdown(grace: .zero)
    throw error
  }
}

/// Answers with the path, and echoes a body.
@Sendable
func echo(_ request: Request) async -> Response {
  do throws(BodyError) {
    let body = try await request.body.collect(upTo: 1 << 20)
    return Response(contentType: "text/plain", body: Array("\(request.method) \(request.path) ".utf8) + body)
  } catch {
    switch error {
    case .tooLarge: return Response(status: .contentTooLarge)
    case .malformed: return Response(status: .badRequest)
    case .timedOut: return Response(status: .requestTimeout)
    default: return Response(status: .internalServerError)
    }
  }
}

/// A counter or flag that handlers and tests share.
actor Box<Value: Sendable> {
  private(set) var value: Value

  init(_ value: Value) { self.value = value }

  func set(_ new: Value) { value = new }
  func update(_ change: @Sendable (inout Value) -> Void) { change(&value) }
}

/// A directory of its own for a test, removed at the end.
func withTemporaryDirectory<Result>(_ body: (String) async throws -> Result) async throws -> Result {
  let path = NSTemporaryDirectory() + "http-" + UUID().uuidString.prefix(8)
  try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(atPath: path) }
  return try await body(path)
}

/// Leaves a socket file behind that nobody listens on.
func makeStaleSocket(_ path: String) async throws {
  var address = sockaddr_un()
  address.sun_family = sa_family_t(AF_UNIX)
  withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
  let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
  let bound = withUnsafePointer(to: &address) { pointer in
    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
    }
  }
  #expect(bound == 0)
  close(descriptor)
}
