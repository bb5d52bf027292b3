import AloftModel
import ArgumentParser
import class Contract.Contract
import ControlPlane
import Foundation
import HTTP
import HTTPTypes
import Logging
import Postgres

/// Runs a replica until it is told to stop.
struct Serve: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run a replica until SIGTERM or SIGINT. Any number may run on one database; all are equal.")

  @OptionGroup var common: CommonOptions

  @Option(
    help: "Address and port to listen on, such as 0.0.0.0:8443 or [::]:8443; several with commas (127.0.0.1:8443).")
  var listen: String?
  @Option(help: "Where agents reach this very replica (https:// and the first --listen).")
  var advertiseURL: String?
  @Option(help: "The server's certificate chain in PEM.")
  var tlsCert: String?
  @Option(help: "The server's key in PEM.")
  var tlsKey: String?
  @Option(help: "The certificate of Aloft's authority in PEM, made by aloftd pki init.")
  var caCert: String?
  @Option(help: "The key of Aloft's authority in PEM.")
  var caKey: String?
  @Option(help: "The directory with the images' contents; all replicas share it.")
  var imageStore: String?
  @Option(help: "For how long a node counts as alive after its agent's last report (20).")
  var leaseSeconds: Int?
  @Flag(help: "Check every answer against the contract, for tests.")
  var validateResponses = false

  func run() async throws {
    let source = try common.source()
    let logger = try common.logger(source)
    let database = try common.database(source, logger: logger)
    let share = try common.shareDirectory(source)
    let caFile = try source.required(caCert, "ca-cert")
    let tls = TLSConfiguration(
      certificateChainFile: try source.required(tlsCert, "tls-cert"),
      privateKeyFile: try source.required(tlsKey, "tls-key"),
      clientCAFile: caFile, clientCertificate: .optional)
    let addresses = try Self.addresses(source.value(listen, "listen") ?? "127.0.0.1:8443")
    guard let first = addresses.first else { throw ValidationError("--listen names no address") }
    let advertised = source.value(advertiseURL, "advertise-url")
    guard advertised != nil || !["0.0.0.0", "::"].contains(first.host) else {
      throw ValidationError("--listen names all addresses; say with --advertise-url where agents reach this replica")
    }
    let settings = Settings(
      leaseSeconds: try source.integer(leaseSeconds, "lease-seconds", default: 20),
      advertisedURL: source.value(advertiseURL, "advertise-url")
        ?? "https://\(first.host.contains(":") ? "[\(first.host)]" : first.host):\(first.port)",
      validateResponses: validateResponses || source.value(nil, "validate-responses") == "true")
    let plane = try ControlPlane(
      contract: try Contract.load(file: share + "/openapi/aloft.yaml"), database: database,
      images: try ImageFiles(directory: try source.required(imageStore, "image-store")),
      authority: try CertificateAuthority(
        certificatePEM: try String(contentsOfFile: caFile, encoding: .utf8),
        privateKeyPEM: try String(contentsOfFile: try source.required(caKey, "ca-key"), encoding: .utf8)),
      settings: settings, logger: logger)
    let server = Server(
      configuration: ServerConfiguration(
        listeners: addresses.map { .ip(host: $0.host, port: $0.port, tls: tls) }, errorBody: Self.errorBody),
      logger: logger, immediate: Self.health, responder: { await plane.respond($0) })
    for address in try await server.start() { logger.notice("listening", metadata: ["address": "\(address)"]) }

    let signals = SignalWatch()
    let background = Task { await plane.run() }
    while true {
      switch await signals.next() {
      case .reload:
        do {
          try server.reloadCertificates()
          logger.notice("certificates were read again")
        } catch {
          logger.error("certificates could not be read again; the old ones stay", metadata: ["error": "\(error)"])
        }
        continue
      case .stop: break
      }
      break
    }
    logger.notice("stopping")
    await server.shutdown(grace: .seconds(10))
    background.cancel()
    await background.value
    await database.shutdown()
  }

  /// Answered on the event loop: alive means that the loops turn.
  @Sendable
  private static func health(_ request: borrowing Request) -> Response? {
    guard request.path == "/healthz", request.method == .get || request.method == .head else { return nil }
    return Response(contentType: "text/plain", body: Array("ok\n".utf8))
  }

  /// What the server refuses before anybody could look at it is a problem document too.
  @Sendable
  private static func errorBody(_ status: HTTPResponse.Status, _ detail: String) -> (
    contentType: String, bytes: [UInt8]
  ) {
    let code: ProblemCode =
      switch status.code {
      case 408: .timeout
      case 413: .bodyTooLarge
      case 500...: .internal
      default: .badHTTP
      }
    var problem = Problem(code, detail)
    problem.status = Int(status.code)
    return ("application/problem+json", problem.jsonBytes)
  }

  /// `host:port` with commas between; an IPv6 host stands in brackets.
  static func addresses(_ text: String) throws -> [(host: String, port: Int)] {
    try text.split(separator: ",").map { part in
      guard let colon = part.lastIndex(of: ":"), let port = Int(part[part.index(after: colon)...]),
        (0...65535).contains(port)
      else { throw ValidationError("\(part) is no address with a port, such as 127.0.0.1:8443 or [::1]:8443") }
      var host = part[..<colon].trimmingCharacters(in: .whitespaces)
      if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
      return (host, port)
    }
  }
}
