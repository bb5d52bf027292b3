import AloftModel
import ArgumentParser
import class Contract.Contract
import ControlPlane
import Foundation
import HTTP
import HTTPTypes
import Logging
import Postgres
import ProgramSettings

/// Runs a replica until it is told to stop.
struct Serve: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run a replica until SIGTERM or SIGINT. Any number may run on one database; all are equal.")

  @OptionGroup var common: CommonOptions
  @OptionGroup var sealing: SealingOptions

  @Option(name: PlaneSetting.listen.flag, help: PlaneSetting.listen.help)
  var listen: String?
  @Option(name: PlaneSetting.advertiseURL.flag, help: PlaneSetting.advertiseURL.help)
  var advertiseURL: String?
  @Option(name: PlaneSetting.tlsCert.flag, help: PlaneSetting.tlsCert.help)
  var tlsCert: String?
  @Option(name: PlaneSetting.tlsKey.flag, help: PlaneSetting.tlsKey.help)
  var tlsKey: String?
  @Option(name: PlaneSetting.tlsName.flag, help: PlaneSetting.tlsName.help)
  var tlsName: [String] = []
  @OptionGroup var importing: ImportOptions
  @OptionGroup var imageStore: ImageStoreOptions
  @Option(name: PlaneSetting.leaseSeconds.flag, help: PlaneSetting.leaseSeconds.help)
  var leaseSeconds: Int?
  @Option(name: PlaneSetting.rateLimit.flag, help: PlaneSetting.rateLimit.help)
  var rateLimit: Int?
  @Option(name: PlaneSetting.publicURL.flag, help: PlaneSetting.publicURL.help)
  var publicURL: String?
  @Option(name: PlaneSetting.oidcFile.flag, help: PlaneSetting.oidcFile.help)
  var oidcFile: String?
  @Option(name: PlaneSetting.consolePath.flag, help: PlaneSetting.consolePath.help)
  var consolePath: String?
  @Option(name: PlaneSetting.sessionSeconds.flag, help: PlaneSetting.sessionSeconds.help)
  var sessionSeconds: Int?
  @Option(name: PlaneSetting.sessionIdleSeconds.flag, help: PlaneSetting.sessionIdleSeconds.help)
  var sessionIdleSeconds: Int?
  @OptionGroup var outgoing: OutgoingOptions
  @OptionGroup var northbound: NorthboundOptions
  @Option(name: PlaneSetting.ovnSouthbound.flag, help: PlaneSetting.ovnSouthbound.help)
  var ovnSouthbound: [String] = []
  @Option(name: PlaneSetting.underlayMTU.flag, help: PlaneSetting.underlayMTU.help)
  var underlayMTU: Int?
  @Option(name: PlaneSetting.dnsDomain.flag, help: PlaneSetting.dnsDomain.help)
  var dnsDomain: String?
  @Option(name: PlaneSetting.keepEventsDays.flag, help: PlaneSetting.keepEventsDays.help)
  var keepEventsDays: Int?
  @Option(name: PlaneSetting.keepOperationsDays.flag, help: PlaneSetting.keepOperationsDays.help)
  var keepOperationsDays: Int?
  @Flag(name: PlaneSetting.validateResponses.flag, help: PlaneSetting.validateResponses.help)
  var validateResponses = false

  func run() async throws {
    let source = try common.source()
    let logger = try common.logger(source)
    OpenFiles.raiseLimit(logger)
    let database = try common.database(source, logger: logger)
    let share = try common.shareDirectory(source)
    let sealing = try sealing.key(source)
    let addresses = try Self.addresses(try source.text(PlaneSetting.listen, listen) ?? "127.0.0.1:8443")
    guard let first = addresses.first else { throw ValidationError("--listen names no address") }
    let advertised = try source.text(PlaneSetting.advertiseURL, advertiseURL)
    guard advertised != nil || !["0.0.0.0", "::"].contains(first.host) else {
      throw ValidationError("--listen names all addresses; say with --advertise-url where agents reach this replica")
    }
    let rate = try source.integer(PlaneSetting.rateLimit, rateLimit, 0...1_000_000) ?? 100
    var settings = Settings(
      leaseSeconds: try source.integer(PlaneSetting.leaseSeconds, leaseSeconds, 1...86_400) ?? 20,
      advertisedURL: advertised
        ?? "https://\(first.host.contains(":") ? "[\(first.host)]" : first.host):\(first.port)",
      validateResponses: try source.flag(PlaneSetting.validateResponses, validateResponses),
      schema: try FileManager.default.contentsOfDirectory(atPath: share + "/migrations")
        .compactMap { Int($0.prefix(4)) }.max())
    settings.outgoing = try outgoing.settings(source)
    settings.networking = try northbound.settings(source)
    settings.networking.southbound = try source.list(PlaneSetting.ovnSouthbound, ovnSouthbound)
    settings.networking.underlayMTU =
      try source.integer(PlaneSetting.underlayMTU, underlayMTU, 1338...65_535) ?? settings.networking.underlayMTU
    settings.networking.dnsDomain = try source.text(PlaneSetting.dnsDomain, dnsDomain) ?? settings.networking.dnsDomain
    settings.rateLimit = rate == 0 ? nil : RateLimit(perSecond: rate, burst: rate * 10)
    try setLogins(&settings, source)
    settings.keepEventsDays = try source.integer(PlaneSetting.keepEventsDays, keepEventsDays, 1...3650) ?? 30
    settings.keepOperationsDays =
      try source.integer(PlaneSetting.keepOperationsDays, keepOperationsDays, 1...3650) ?? 30
    let plane = try ControlPlane(
      contract: try Contract.load(file: share + "/openapi/aloft.yaml"), database: database,
      images: try imageStore.contents(source, logger: logger),
      sealing: sealing, settings: settings, logger: logger)
    let certificate = ServerCertificate(try self.certificate(source, advertised: settings.advertisedURL))
    try await waitForAuthority(AuthorityCommands(database: database, sealing: sealing), source, logger)
    guard let tls = try await certificate.change(to: try await plane.authorities(), now: Date()) else { return }
    let server = Server(
      configuration: ServerConfiguration(
        listeners: addresses.map { .ip(host: $0.host, port: $0.port, tls: tls) }, errorBody: Self.errorBody),
      logger: logger, immediate: Self.health, responder: { await plane.respond($0) })
    plane.observe { server.statistics() }
    for address in try await server.start() { logger.notice("listening", metadata: ["address": "\(address)"]) }

    let signals = SignalWatch()
    let background = Task { await plane.run() }
    let keeping = Task { await certificate.keep(server, of: plane, logger: logger) }
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
    plane.drain()
    await server.shutdown(grace: .seconds(10))
    background.cancel()
    keeping.cancel()
    await background.value
    await keeping.value
    await database.shutdown()
  }

  private func setLogins(_ settings: inout Settings, _ source: SettingsReader) throws {
    if let url = try source.text(PlaneSetting.publicURL, publicURL) {
      guard url.hasPrefix("https://"), url.dropFirst("https://".count).contains(where: { $0 != "/" }) else {
        throw ValidationError("--public-url is \(url), which is no URL such as https://cloud.example")
      }
      settings.publicURL = url.hasSuffix("/") ? String(url.dropLast()) : url
    }
    if let path = try source.text(PlaneSetting.oidcFile, oidcFile) { settings.issuers = try IssuerFile.read(path) }
    if let path = try source.text(PlaneSetting.consolePath, consolePath) {
      guard path.hasPrefix("/"), !path.hasPrefix("//"), !path.contains("\\") else {
        throw ValidationError("--console-path is \(path), which is no path at this server, such as /console")
      }
      settings.consolePath = path
    }
    let range = 60...31_536_000
    if let seconds = try source.integer(PlaneSetting.sessionSeconds, sessionSeconds, range) {
      settings.sessions.absoluteSeconds = seconds
    }
    if let seconds = try source.integer(PlaneSetting.sessionIdleSeconds, sessionIdleSeconds, range) {
      settings.sessions.idleSeconds = seconds
    }
  }

  private func certificate(_ source: SettingsReader, advertised: String) throws -> ServerCertificate.Source {
    let (certificate, key) = (
      try source.text(PlaneSetting.tlsCert, tlsCert), try source.text(PlaneSetting.tlsKey, tlsKey)
    )
    if let certificate, let key { return .files(certificate: certificate, key: key) }
    guard certificate == nil, key == nil else {
      throw ValidationError(
        "--tls-cert and --tls-key belong together: give both, or none for a certificate of Aloft's own")
    }
    let given = try source.list(PlaneSetting.tlsName, tlsName)
    if !given.isEmpty { return .own(names: given) }
    let host = URLComponents(string: advertised)?.host?.trimmingCharacters(in: ["[", "]"])
    var names: [String] = []
    for name in [host, "localhost", "127.0.0.1", "::1"].compactMap({ $0 }) where !names.contains(name) {
      names.append(name)
    }
    return .own(names: names)
  }

  /// Without the authority there is nothing that agents could be told apart by: a replica that comes before its database, or
  /// before its migrations, waits.
  private func waitForAuthority(
    _ authority: AuthorityCommands, _ source: SettingsReader, _ logger: Logger
  ) async throws {
    var tries = 0
    while true {
      do {
        return try await importing.prepare(authority, source, logger: logger)
      } catch let error as PostgresError {
        if tries % 10 == 0 {
          logger.warning(
            "waiting for the database; if it answers, aloftd migrate has not been run", metadata: ["error": "\(error)"])
        }
        tries += 1
        try await Task.sleep(for: .seconds(1))
      }
    }
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
