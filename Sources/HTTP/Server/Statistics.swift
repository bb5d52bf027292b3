import Synchronization

/// What a server has done since it started, and what it holds now.
public struct Statistics: Sendable, Equatable {
  /// Connections open now.
  public var openConnections = 0
  /// Connections accepted, refused ones not included.
  public var accepted = 0
  /// Connections closed at once: too many in all or of one peer.
  public var refusedConnections = 0
  /// Connections closed because the process had no file descriptor left.
  public var descriptorShortages = 0
  public var handshakeFailures = 0
  /// Request heads that were understood.
  public var requests = 0
  /// Requests refused by the parser or a limit.
  public var refusedRequests = 0
  /// Connections closed because a phase took too long.
  public var timeouts = 0
  /// Responses begun, by the hundreds of their status: `responses[2]` counts 2xx. Index 0 is unused.
  public var responses = [Int](repeating: 0, count: 6)
  /// Application bytes, before encryption.
  public var bytesReceived = 0
  public var bytesSent = 0
}

/// The counters of one event loop. Relaxed atomics of their own per loop: written without contention, read by anyone.
final class Counters: Sendable {
  let open = Atomic<Int>(0)
  let accepted = Atomic<Int>(0)
  let refusedConnections = Atomic<Int>(0)
  let descriptorShortages = Atomic<Int>(0)
  let handshakeFailures = Atomic<Int>(0)
  let requests = Atomic<Int>(0)
  let refusedRequests = Atomic<Int>(0)
  let timeouts = Atomic<Int>(0)
  let informational = Atomic<Int>(0)
  let successes = Atomic<Int>(0)
  let redirects = Atomic<Int>(0)
  let clientErrors = Atomic<Int>(0)
  let serverErrors = Atomic<Int>(0)
  let received = Atomic<Int>(0)
  let sent = Atomic<Int>(0)

  func countResponse(_ status: Int) {
    switch status {
    case ..<200: informational.add(1, ordering: .relaxed)
    case ..<300: successes.add(1, ordering: .relaxed)
    case ..<400: redirects.add(1, ordering: .relaxed)
    case ..<500: clientErrors.add(1, ordering: .relaxed)
    default: serverErrors.add(1, ordering: .relaxed)
    }
  }

  func add(to total: inout Statistics) {
    total.openConnections += open.load(ordering: .relaxed)
    total.accepted += accepted.load(ordering: .relaxed)
    total.refusedConnections += refusedConnections.load(ordering: .relaxed)
    total.descriptorShortages += descriptorShortages.load(ordering: .relaxed)
    total.handshakeFailures += handshakeFailures.load(ordering: .relaxed)
    total.requests += requests.load(ordering: .relaxed)
    total.refusedRequests += refusedRequests.load(ordering: .relaxed)
    total.timeouts += timeouts.load(ordering: .relaxed)
    total.responses[1] += informational.load(ordering: .relaxed)
    total.responses[2] += successes.load(ordering: .relaxed)
    total.responses[3] += redirects.load(ordering: .relaxed)
    total.responses[4] += clientErrors.load(ordering: .relaxed)
    total.responses[5] += serverErrors.load(ordering: .relaxed)
    total.bytesReceived += received.load(ordering: .relaxed)
    total.bytesSent += sent.load(ordering: .relaxed)
  }
}
