import Execution

/// A lock of a server (RFC 7047, 4.1.8) that this client holds or waits for. Made by ``OVSDBClient/lock(_:steal:)``.
///
/// The lock belongs to the connection. When that ends, the server gives the lock to the next who waits, and this one queues
/// again with the next connection. What this object says may be old news; only ``Operation/assert(lock:)`` in the
/// transaction itself makes sure.
public final class DatabaseLock: Sendable {
  public enum Status: Sendable, Hashable {
    /// There is no connection, or the server has not answered yet.
    case disconnected
    /// Another client holds it.
    case waiting
    case held
    /// Another client has stolen it. This one is in the queue again.
    case stolen
    /// It was given back, or the client closed.
    case released
    /// The server does not want it.
    case refused(ServerFault)

    var isFinal: Bool {
      switch self {
      case .released, .refused: true
      case .disconnected, .waiting, .held, .stolen: false
      }
    }
  }

  private struct State {
    var status = Status.disconnected
    var listeners: [Int: AsyncStream<Status>.Continuation] = [:]
    var nextListener = 0
    var steals: Bool
  }

  public let name: String
  private let state: Lock<State>

  init(name: String, steal: Bool) {
    self.name = name
    state = Lock(State(steals: steal))
  }

  /// What is known of it now.
  public var status: Status { state.withLock { $0.status } }

  public var isHeld: Bool { status == .held }

  /// The status now, and each one that follows. A slow reader sees the newest. Ends with `released` or `refused`.
  public var statuses: AsyncStream<Status> {
    let (stream, continuation) = AsyncStream<Status>.makeStream(bufferingPolicy: .bufferingNewest(1))
    let key = state.withLock { state -> Int in
      state.nextListener += 1
      continuation.yield(state.status)
      if state.status.isFinal { continuation.finish() } else { state.listeners[state.nextListener] = continuation }
      return state.nextListener
    }
    continuation.onTermination = { [weak self] _ in self?.forget(key) }
    return stream
  }

  /// Waits until this client holds the lock. Throws `cancelled`, `closed`, or what the server said against it.
  public func acquired() async throws(OVSDBError) {
    for await status in statuses {
      switch status {
      case .held: return
      case .refused(let fault):
        throw OVSDBError(.requestRefused(fault), "the lock \(name) was refused: \(fault)")
      case .released: throw OVSDBError(.closed, "the lock \(name) was given back")
      case .disconnected, .waiting, .stolen: continue
      }
    }
    throw OVSDBError(.cancelled, "the task was cancelled while it waited for the lock \(name)")
  }

  func become(_ status: Status) {
    // They are told outside of the lock: the end of a stream comes back here to be forgotten.
    let listeners = state.withLock { state -> [AsyncStream<Status>.Continuation] in
      guard state.status != status, !state.status.isFinal else { return [] }
      state.status = status
      return Array(state.listeners.values)
    }
    for listener in listeners {
      listener.yield(status)
      if status.isFinal { listener.finish() }
    }
  }

  /// How to ask for it: it is stolen once at most, or two thieves would take it from each other for ever.
  func takeMethod() -> String {
    state.withLock { state in
      defer { state.steals = false }
      return state.steals ? "steal" : "lock"
    }
  }

  private func forget(_ key: Int) { state.withLock { $0.listeners[key] = nil } }
}
