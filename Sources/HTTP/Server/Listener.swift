import CLinux
import Glibc
import Logging

/// Accepts connections of one listening socket and hands each to the loop that has the fewest.
///
/// One acceptor rather than SO_REUSEPORT: the kernel spreads by a hash of the addresses, which leaves loops unequally
/// loaded when connections are few and long, loses connections that wait on a socket being closed, and does not exist
/// for Unix sockets. Handing over costs one wake-up per connection, not per request.
actor Listener {
  private static let batch = 64
  private static let pauseMilliseconds: Int64 = 100

  private nonisolated let loop: EventLoop
  nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }
  private let socket: Int32
  private let tls: TLSStore?
  private let unixPath: String?
  /// What requests that come by it have as ``Peer/listener``.
  nonisolated let name: String?
  private let service: Service
  private let loops: [EventLoop]
  private var nextLoop = 0
  private var token: SlotTable.Token?
  /// Held in reserve, so that there is one to accept and close with when the process has no other left: the client
  /// sees a closed connection instead of silence, and the listening socket does not stay readable for ever.
  private var reserve: Int32

  init(
    socket: Int32, tls: TLSStore?, unixPath: String?, name: String?, service: Service, loop: EventLoop,
    loops: [EventLoop]
  ) {
    self.name = name
    self.socket = socket
    self.tls = tls
    self.unixPath = unixPath
    self.service = service
    self.loop = loop
    self.loops = loops
    reserve = Self.openReserve()
  }

  private static func openReserve() -> Int32 { open("/dev/null", O_RDONLY | O_CLOEXEC) }

  func start() {
    token = loop.register(socket, .listener(self), events: EPOLLIN.rawValue)
    if token == nil { service.logger.error("cannot watch a listening socket", metadata: ["errno": "\(errno)"]) }
  }

  func ready() {
    for _ in 0..<Self.batch where !acceptOne() { return }
  }

  func deadlineReached() {
    guard let token else { return }
    loop.modify(socket, token, events: EPOLLIN.rawValue)
  }

  /// Accepts what waits already and stops listening.
  func stop() {
    guard let token else { return }
    while acceptOne() {}
    loop.deregister(socket, token)
    self.token = nil
    close(socket)
    if reserve >= 0 { close(reserve) }
    if let unixPath { unlink(unixPath) }
  }

  /// Returns whether there may be more.
  private func acceptOne() -> Bool {
    var address = SocketAddress()
    let connection = address.withMutablePointer {
      accept4(socket, $0, $1, Int32(SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue))
    }
    if connection >= 0 {
      admit(connection, from: address)
      return true
    }
    switch errno {
    case EAGAIN, EWOULDBLOCK: return false
    case EMFILE, ENFILE, ENOBUFS, ENOMEM:
      shed()
      return false
    // The client gave up while it waited, or a filter forbids it.
    case ECONNABORTED, EINTR, EPROTO, EPERM: return true
    default:
      service.logger.error("accept failed", metadata: ["reason": "\(systemMessage(errno))"])
      return false
    }
  }

  /// No descriptor left: turn one client away with the reserve and look again a little later.
  private func shed() {
    loop.counters.descriptorShortages.add(1, ordering: .relaxed)
    if reserve >= 0 {
      close(reserve)
      let connection = accept4(socket, nil, nil, Int32(SOCK_CLOEXEC.rawValue))
      if connection >= 0 { close(connection) }
      reserve = Self.openReserve()
    } else {
      reserve = Self.openReserve()
    }
    guard let token else { return }
    loop.modify(socket, token, events: 0)
    loop.setDeadline(loop.now + Self.pauseMilliseconds, for: token)
  }

  private func admit(_ connection: Int32, from address: SocketAddress) {
    let key = Admission.Key(listener: name, peer: address.peerKey(isWhole: name != nil))
    guard service.admission.enter(key) else {
      loop.counters.refusedConnections.add(1, ordering: .relaxed)
      close(connection)
      return
    }
    if key.peer != nil {
      var one: Int32 = 1
      setsockopt(connection, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
    }
    var ssl: OpaquePointer?
    if let tls {
      ssl = tls.current.makeConnection(socket: connection)
      if ssl == nil {
        service.admission.leave(key)
        close(connection)
        return
      }
    }
    let (host, port) = address.hostAndPort
    let target = leastLoadedLoop()
    target.counters.accepted.add(1, ordering: .relaxed)
    target.counters.open.add(1, ordering: .relaxed)
    let made = Connection(
      transport: Transport(socket: connection, ssl: ssl),
      peer: Peer(address: host, port: port, isTLS: tls != nil, listener: name),
      admissionKey: key, service: service, loop: target)
    if target === loop {
      made.assumeIsolated { $0.start() }
    } else {
      target.submit { made.assumeIsolated { $0.start() } }
    }
  }

  private func leastLoadedLoop() -> EventLoop {
    nextLoop = (nextLoop + 1) % loops.count
    var best = loops[nextLoop]
    for candidate in loops
    where candidate.counters.open.load(ordering: .relaxed) < best.counters.open.load(ordering: .relaxed) {
      best = candidate
    }
    return best
  }
}
