import Execution

/// Counts open connections, in all and by peer, across the loops.
final class Admission: Sendable {
  private struct State {
    var open = 0
    var byPeer: [UInt64: Int] = [:]
  }

  private let state = Lock(State())
  private let total: Int
  private let perPeer: Int

  init(limits: Limits) {
    total = limits.connections
    perPeer = limits.connectionsPerPeer
  }

  /// Takes a place for a connection, if there is one. `peer` is nil where peers cannot be told apart.
  func enter(_ peer: UInt64?) -> Bool {
    state.withLock { state in
      guard state.open < total else { return false }
      if let peer {
        let count = state.byPeer[peer, default: 0]
        guard count < perPeer else { return false }
        state.byPeer[peer] = count + 1
      }
      state.open += 1
      return true
    }
  }

  func leave(_ peer: UInt64?) {
    state.withLock { state in
      state.open -= 1
      guard let peer, let count = state.byPeer[peer] else { return }
      state.byPeer[peer] = count > 1 ? count - 1 : nil
    }
  }

  var open: Int { state.withLock { $0.open } }
}
