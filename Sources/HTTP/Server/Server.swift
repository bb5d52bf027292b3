import Execution
import Logging
import Synchronization

/// An HTTP/1.1 server on event loops of its own.
///
/// Invariants:
/// - One request of a connection is answered at a time, in order. Bytes that are not the body of a request as its head
///   declared it are never read as anything else: whatever is doubtful ends the connection.
/// - The memory that a client can make the server hold is bounded by ``Limits``.
/// - Loops move bytes and run handlers, which must not block; a handler is cancelled when its client leaves.
///
/// The rules (parser, body decoders, WebSocket frames) are pure values; `Connection` applies them to a socket.
public final class Server: Sendable {
  enum Stage { case new, running, stopped }

  struct State {
    var stage = Stage.new
    var listeners: [Listener] = []
    var certificates: [TLSStore] = []
    var loops: [EventLoop] = []
    var threads: [Task<Void, Never>] = []
  }

  private let configuration: ServerConfiguration
  let service: Service
  private let logger: Logger
  let state = Lock(State())

  /// - Parameters:
  ///   - immediate: asked first, on the loop; see ``ImmediateResponder``.
  ///   - responder: answers what `immediate` leaves.
  public init(
    configuration: ServerConfiguration, logger: Logger, immediate: ImmediateResponder? = nil,
    responder: @escaping Responder
  ) {
    self.configuration = configuration
    self.logger = logger
    service = Service(configuration: configuration, logger: logger, immediate: immediate, responder: responder)
  }

  deinit {
    let (stage, listeners, loops) = state.withLock { ($0.stage, $0.listeners, $0.loops) }
    guard stage == .running else { return }
    // Nobody can shut it down any more: let go of sockets and threads.
    Task.detached {
      for listener in listeners { await listener.stop() }
      Self.forEachConnection(of: loops) { $0.close() }
      for loop in loops { loop.stop() }
    }
  }

  /// Binds all listeners and begins to serve. Returns where, in the order of the configuration. Throws ``ServerError``;
  /// then nothing is left bound, and it can be tried again.
  public func start() async throws -> [BoundAddress] {
    let isNew = state.withLock { state in
      defer { if state.stage == .new { state.stage = .running } }
      return state.stage == .new
    }
    guard isNew else { throw ServerError.alreadyStarted }
    do {
      return try await serve()
    } catch {
      state.withLock { $0.stage = .new }
      throw error
    }
  }

  private func serve() async throws -> [BoundAddress] {
    var loops: [EventLoop] = []
    for _ in 0..<max(1, configuration.loops) { loops.append(try EventLoop()) }
    let opened = try openListeners()
    var listeners: [Listener] = []
    for (index, item) in opened.enumerated() {
      let loop = loops[index % loops.count]
      listeners.append(
        Listener(
          socket: item.socket, tls: item.tls, unixPath: item.unixPath, name: nil, service: service, loop: loop,
          loops: loops))
    }
    let threads = loops.enumerated().map { index, loop in
      Task.detached { await DedicatedThread(name: "http-\(index)").run { loop.run() } }
    }
    state.withLock {
      $0.loops = loops
      $0.listeners = listeners
      $0.certificates = opened.compactMap { $0.tls }
      $0.threads = threads
    }
    for listener in listeners { await listener.start() }
    logger.info("serving HTTP", metadata: ["addresses": "\(opened.map { "\($0.address)" })"])
    return opened.map { $0.address }
  }

  /// Reads the TLS files again; new connections use them, open ones keep theirs. Throws ``ServerError`` and changes
  /// nothing for a listener whose files are not good.
  public func reloadCertificates() throws {
    for store in state.withLock({ $0.certificates }) { try store.reload() }
  }

  /// Lets new connections of all TLS listeners use another configuration; open ones keep theirs. Throws ``ServerError`` and
  /// changes nothing when it is not good.
  public func use(_ configuration: TLSConfiguration) throws {
    let fresh = try TLSContext(configuration)
    for store in state.withLock({ $0.certificates }) { store.use(configuration, fresh) }
  }

  /// What the server has done and holds.
  public func statistics() -> Statistics {
    var total = Statistics()
    for loop in state.withLock({ $0.loops }) { loop.counters.add(to: &total) }
    return total
  }

  /// Whether ``shutdown(grace:)`` has begun.
  package var isDraining: Bool { service.isDraining }

  /// Stops accepting, closes idle connections and lets requests that have begun to come finish, for at most `grace`;
  /// WebSockets are closed with 1001. Then the tasks are cancelled, and what has not ended a second later is cut off.
  /// Handlers that wait for something that may not happen soon are for the program to wake, before it calls this. Returns when all threads have ended; a loop
  /// whose handlers go on in spite of their cancellation ends with the last of them.
  public func shutdown(grace: Duration) async {
    let (stage, listeners, loops, threads) = state.withLock { state in
      defer { state.stage = .stopped }
      return (state.stage, state.listeners, state.loops, state.threads)
    }
    guard stage == .running else { return }
    service.startDraining()
    for listener in listeners { await listener.stop() }
    Self.forEachConnection(of: loops) { $0.drain() }
    if await !becomesIdle(within: grace) {
      Self.forEachConnection(of: loops) { $0.cancelWork() }
      if await !becomesIdle(within: .seconds(1)) {
        Self.forEachConnection(of: loops) { $0.close() }
        _ = await becomesIdle(within: .seconds(1))
      }
    }
    for loop in loops { loop.stop() }
    let left = loops.reduce(0) { $0 + $1.runningTasks }
    if left > 0 {
      logger.warning("handlers go on although they were cancelled", metadata: ["count": "\(left)"])
    } else {
      for thread in threads { await thread.value }
    }
  }

  private static func forEachConnection(
    of loops: [EventLoop], _ body: @escaping @Sendable (isolated Connection) -> Void
  ) {
    for loop in loops {
      loop.submit {
        for connection in loop.connections { connection.assumeIsolated(body) }
      }
    }
  }

  private func becomesIdle(within limit: Duration) async -> Bool {
    let end = ContinuousClock.now + limit
    while service.admission.open > 0 {
      if ContinuousClock.now >= end || Task.isCancelled { return false }
      try? await Task.sleep(for: .milliseconds(5))
    }
    return true
  }

  private struct OpenedListener {
    var socket: Int32
    var address: BoundAddress
    var tls: TLSStore?

    var unixPath: String? { if case .unix(let path) = address { path } else { nil } }
  }

  private func openListeners() throws -> [OpenedListener] {
    var opened: [OpenedListener] = []
    do {
      for listener in configuration.listeners {
        var tls: TLSStore?
        if case .ip(_, _, let configuration?) = listener { tls = try TLSStore(configuration) }
        let (socket, address) = try ListeningSocket.open(listener, limits: configuration.limits)
        opened.append(OpenedListener(socket: socket, address: address, tls: tls))
      }
      return opened
    } catch {
      for listener in opened { ListeningSocket.close(listener.socket, listener.unixPath) }
      throw error
    }
  }
}
