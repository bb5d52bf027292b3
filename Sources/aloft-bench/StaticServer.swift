import ArgumentParser
import HTTP
import Logging

/// Aloft's HTTP server with one small answer, to be set beside nginx: `/immediate` is answered on the event loop,
/// `/handler` by a handler, which is a task.
struct StaticServer: AsyncParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Answer GETs with a small JSON document until killed.")

  @Option(help: "The port for plain HTTP on 127.0.0.1.")
  var port: Int
  @Option(help: "The port for HTTPS on 127.0.0.1.")
  var tlsPort: Int
  @Option(help: "The certificate in PEM.")
  var cert: String
  @Option(help: "The key in PEM.")
  var key: String
  @Option(help: "The answer's body.")
  var body: String

  func run() async throws {
    let answer = Response(contentType: "application/json", body: Array(body.utf8))
    var logger = Logger(label: "aloft-bench")
    logger.logLevel = .warning
    let server = Server(
      configuration: ServerConfiguration(
        listeners: [
          .ip(host: "127.0.0.1", port: port, tls: nil),
          .ip(host: "127.0.0.1", port: tlsPort, tls: TLSConfiguration(certificateChainFile: cert, privateKeyFile: key)),
        ]),
      logger: logger,
      immediate: { request in request.path == "/immediate" ? answer : nil },
      responder: { _ in answer })
    _ = try await server.start()
    print("listening yes")
    while !Task.isCancelled { try await Task.sleep(for: .seconds(3600)) }
  }
}
