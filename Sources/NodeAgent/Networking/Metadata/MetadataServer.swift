import AloftModel
import Execution
import HTTP
import IPAddressing
import Logging

/// Serves ``MetadataService`` on sockets in networks' namespaces: one server for all of them.
actor MetadataServer {
  private static let port: UInt16 = 80
  /// A guest that opens connections without end costs only its own network: peers are counted by network and address, and
  /// a network gets no more places than are left for others.
  private static let limits = {
    var limits = Limits()
    limits.maximumBody = 4 << 10
    limits.connections = 4_096
    limits.connectionsPerPeer = 64
    limits.keepAliveIdle = .seconds(20)
    return limits
  }()

  private let service = Lock(MetadataService())
  private let server: Server
  private var isStarted = false

  init(clock: any AgentClock, logger: Logger) {
    let service = service
    server = Server(
      configuration: ServerConfiguration(listeners: [], loops: 1, limits: Self.limits), logger: logger
    ) { request in
      guard let network = request.peer.listener.flatMap(NetworkID.init(_:)),
        let source = IPAddress(request.peer.address)
      else { return Response(status: .notFound) }
      let question = MetadataService.Question(
        method: request.method, path: request.path, headers: request.headers, network: network, source: source,
        now: clock.now().uptime / 1000)
      let answer = service.withLock { $0 }.answer(question)
      var headers = answer.headers
      headers[.contentType] = answer.type
      return Response(status: answer.status, headers: headers, body: .bytes(Array(answer.body.utf8)))
    }
  }

  /// Who is answered from now on.
  nonisolated func use(_ documents: [Assignment]) { service.withLock { $0.directory.documents = documents } }

  /// Listens in a network's namespace.
  func enter(_ network: NetworkID, namespace: String) async throws(AgentFailure) {
    do {
      if !isStarted { _ = try await server.start() }
      isStarted = true
      for text in [MetadataNetwork.ipv4, MetadataNetwork.ipv6] {
        guard let address = IPAddress(text), !address.isIPv6 || MetadataNetwork.kernelKnowsIPv6 else { continue }
        let socket = try await NetworkNamespace.run(in: namespace) { () throws(AgentFailure) in
          try NetworkNamespace.listen(on: address, port: Self.port, device: MetadataNetwork.innerDevice)
        }
        try await server.listen(on: socket, name: network.description)
      }
    } catch let failure as AgentFailure { throw failure } catch {
      throw AgentFailure(.storage, "the metadata service cannot be served: \(error)")
    }
  }

  /// Listens there no more.
  func leave(_ network: NetworkID) async { await server.stopListening(name: network.description) }

  func stop() async { if isStarted { await server.shutdown(grace: .milliseconds(200)) } }
}
