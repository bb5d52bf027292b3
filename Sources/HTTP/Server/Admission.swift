import Execution

/// Counts open connections, in all, by peer and by named listener, across the loops.
///
/// Invariants
/// - A peer is one only by the same listener: where listeners are of different networks, one address is two peers.
/// - Named listeners cannot take the places from each other: each may hold no more than are free, so of n that take all
///   they can each gets one of n + 1 parts, and the last part stays for those who come. (The rule by which switches share a
///   buffer between ports: Choudhury and Hahne, Dynamic Queue Length Thresholds, 1998.)
final class Admission: Sendable {
  /// Whose connection it is.
  struct Key: Hashable, Sendable {
    /// Nil where listeners have no names: they share all places.
    var listener: String?
    /// Nil where peers cannot be told apart.
    var peer: PeerKey?
  }

  private struct State {
    var open = 0
    var byPeer: [Key: Int] = [:]
    var byListener: [String: Int] = [:]
  }

  private let state = Lock(State())
  private let total: Int
  private let perPeer: Int

  init(limits: Limits) {
    total = limits.connections
    perPeer = limits.connectionsPerPeer
  }

  /// Takes a place for a connection, if there is one.
  func enter(_ key: Key) -> Bool {
    state.withLock { state in
      guard state.open < total else { return false }
      let ofPeer = state.byPeer[key, default: 0]
      if key.peer != nil, ofPeer >= perPeer { return false }
      if let listener = key.listener {
        let count = state.byListener[listener, default: 0]
        guard count < total - state.open else { return false }
        state.byListener[listener] = count + 1
      }
      if key.peer != nil { state.byPeer[key] = ofPeer + 1 }
      state.open += 1
      return true
    }
  }

  func leave(_ key: Key) {
    state.withLock { state in
      state.open -= 1
      if let listener = key.listener { Self.takeOne(of: listener, from: &state.byListener) }
      if key.peer != nil { Self.takeOne(of: key, from: &state.byPeer) }
    }
  }

  private static func takeOne<Name: Hashable>(of name: Name, from counts: inout [Name: Int]) {
    guard let count = counts[name] else { return }
    counts[name] = count > 1 ? count - 1 : nil
  }

  var open: Int { state.withLock { $0.open } }
}

/// What the limit of connections per peer counts by.
struct PeerKey: Hashable, Sendable {
  /// The first and the last eight bytes of an address; of IPv4 the four that there are.
  var high: UInt64
  var low: UInt64
  var isIPv6: Bool
}
