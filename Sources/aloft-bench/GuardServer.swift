import ArgumentParser
import class Contract.Contract
import ControlPlane
import DiskImages
import Foundation
import HTTP
import Logging
import Postgres

/// The control plane on a database, at two ports: at one of them callers show who they are, as always; at the other one nothing
/// of that is looked at. What lies between is what authentication, authorization and rate limits cost.
struct GuardServer: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Answer the API's calls until killed, at one port without asking who calls.")

  @Option(help: "The database.")
  var databaseURL: String
  @Option(help: "The directory with openapi/.")
  var share: String
  @Option(help: "A directory for images.")
  var imageStore: String
  @Option(help: "The port on 127.0.0.1 where callers are asked who they are.")
  var port: Int
  @Option(help: "The port on 127.0.0.1 where they are not.")
  var openPort: Int
  @Option(help: "The certificate in PEM.")
  var cert: String
  @Option(help: "The key in PEM.")
  var key: String

  func run() async throws {
    var logger = Logger(label: "aloft-bench")
    logger.logLevel = .warning
    let database = try Database(configuration: DatabaseConfiguration(url: databaseURL, poolSize: 8), logger: logger)
    var settings = Settings(advertisedURL: "https://127.0.0.1:\(port)")
    // A limit that nobody meets is counted all the same.
    settings.rateLimit = RateLimit(perSecond: 1_000_000, burst: 10_000_000)
    var servers: [Server] = []
    for (port, admission) in [(port, Admission.asDeclared), (openPort, .everybody)] {
      let plane = try ControlPlane(
        contract: try Contract.load(file: share + "/openapi/aloft.yaml"), database: database,
        images: try ImageContents(
          directory: imageStore, inspector: ConfinedInspector(program: "aloft-inspect")),
        sealing: try SealingKey(SealingKey.generate()),
        settings: settings,
        admission: admission, logger: logger)
      let tls = TLSConfiguration(certificateChainFile: cert, privateKeyFile: key)
      let server = Server(
        configuration: ServerConfiguration(listeners: [.ip(host: "127.0.0.1", port: port, tls: tls)]), logger: logger,
        responder: { await plane.respond($0) })
      _ = try await server.start()
      servers.append(server)
    }
    while !Task.isCancelled { try await Task.sleep(for: .seconds(3600)) }
    for server in servers { await server.shutdown(grace: .zero) }
  }
}
