import Execution

/// Why a connection ended; `virConnectCloseReason` in libvirt.
public enum CloseReason: Sendable, Hashable {
  /// ``Connection/close()`` was called.
  case client
  /// libvirtd closed its end: it stopped, or it crashed.
  case endOfFile
  /// libvirtd did not answer keep-alive probes.
  case keepAlive
  case error
}

/// Fires once; whoever listens later is told at once.
final class CloseSignal: Sendable {
  private struct State {
    var reason: CloseReason?
    var nextToken = 0
    var listeners: [Int: @Sendable (CloseReason) -> Void] = [:]
  }

  private let state = Lock(State())

  var reason: CloseReason? { state.withLock { $0.reason } }

  func fire(_ reason: CloseReason) {
    let listeners = state.withLock { state -> [@Sendable (CloseReason) -> Void] in
      guard state.reason == nil else { return [] }
      state.reason = reason
      defer { state.listeners = [:] }
      return Array(state.listeners.values)
    }
    for listener in listeners { listener(reason) }
  }

  @discardableResult
  func listen(_ listener: @escaping @Sendable (CloseReason) -> Void) -> Int? {
    let (token, reason) = state.withLock { state -> (Int?, CloseReason?) in
      if let reason = state.reason { return (nil, reason) }
      state.nextToken += 1
      state.listeners[state.nextToken] = listener
      return (state.nextToken, nil)
    }
    if let reason { listener(reason) }
    return token
  }

  func forget(_ token: Int?) {
    guard let token else { return }
    state.withLock { state in state.listeners[token] = nil }
  }
}
