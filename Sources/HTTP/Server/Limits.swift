import Glibc

/// What one client may cost. Each limit ends in a refusal, never in unbounded memory or an endless wait.
public struct Limits: Sendable {
  /// Bytes of the request line; beyond it 414.
  public var requestLine = 8 << 10
  /// Bytes of the header section; beyond it 431.
  public var headerBytes = 32 << 10
  /// Header fields, at most 10 000; beyond it 431.
  public var headerCount = 100
  /// The hard cap of a body in bytes, for any handler: a larger declared length is refused with 413 before the handler
  /// runs. Handlers set their own, smaller limits by ``RequestBody/collect(upTo:)``.
  public var maximumBody: Int64 = 1 << 40
  /// Bytes of a body held for a handler that does not read; then the client is made to wait.
  public var bodyBuffer = 64 << 10
  /// Bytes of a response held for a client that does not read; then the writer is made to wait.
  public var outputBuffer = 64 << 10
  /// Bytes of pipelined requests held while one is being answered.
  public var pipelineBuffer = 16 << 10
  /// Bytes of an unread request body that are read and dropped to keep a connection; beyond it, it is closed.
  public var drain = 64 << 10

  /// From accept to the end of the TLS handshake.
  public var handshake = Duration.seconds(10)
  /// From the first byte of a request head to its last (408), and from a new connection to the first byte.
  public var header = Duration.seconds(10)
  /// Without a byte of a body that is being read, and how far a body may fall behind ``bodyRate``.
  public var bodyIdle = Duration.seconds(30)
  /// Bytes per second that a body has to bring on the average, unless it is read as ``RequestBody/sparse``. Time for
  /// which the server itself does not take bytes does not count.
  public var bodyRate = 1 << 10
  /// Without progress of a response.
  public var writeIdle = Duration.seconds(30)
  /// Between two requests of a connection.
  public var keepAliveIdle = Duration.seconds(75)
  /// For the client to take note of a response that ends a connection early.
  public var linger = Duration.seconds(2)

  /// Open connections in all; more are closed at once. A process that may open fewer files gets less, see
  /// `RLIMIT_NOFILE` in getrlimit(2): three quarters of them for connections, half of those for one peer.
  public var connections = 16_384
  /// Open connections of one peer: an IPv4 address or an IPv6 /64; by a named listener an address of either, counted for that
  /// listener alone. Unix sockets do not count. A named listener gets no more connections than are free.
  public var connectionsPerPeer = 1_024

  /// Bytes of one WebSocket message; beyond it the connection is closed with 1009.
  public var webSocketMessage = 1 << 20
  /// After this long without a frame the server pings; after twice as long it closes.
  public var webSocketPing = Duration.seconds(30)

  public init() {}

  /// These limits for a process that may open `descriptors` files: a quarter is left for all else that it opens, and no
  /// peer gets more than half of the rest.
  package func fitting(descriptors: Int) -> Limits {
    let share = max(1, descriptors - descriptors / 4)
    var limits = self
    limits.connections = min(connections, share)
    limits.connectionsPerPeer = min(connectionsPerPeer, max(1, share / 2))
    return limits
  }

  /// How many files this process may open now.
  static var openFiles: Int {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
    return Int(clamping: limit.rlim_cur)
  }
}

/// The times of ``Limits`` in the unit of the event loops, worked out once: dividing a `Duration` costs more than parsing
/// a field.
struct LimitTimes: Sendable {
  let handshake: Int64
  let header: Int64
  let bodyIdle: Int64
  let writeIdle: Int64
  let keepAliveIdle: Int64
  let linger: Int64
  let webSocketPing: Int64

  init(_ limits: Limits) {
    handshake = limits.handshake.milliseconds
    header = limits.header.milliseconds
    bodyIdle = limits.bodyIdle.milliseconds
    writeIdle = limits.writeIdle.milliseconds
    keepAliveIdle = limits.keepAliveIdle.milliseconds
    linger = limits.linger.milliseconds
    webSocketPing = limits.webSocketPing.milliseconds
  }
}

extension Duration {
  /// Whole milliseconds, the unit of the event loops.
  var milliseconds: Int64 {
    let (seconds, attoseconds) = components
    return seconds.multipliedReportingOverflow(by: 1000).overflow
      ? .max / 4 : seconds * 1000 + attoseconds / 1_000_000_000_000_000
  }
}
