import AloftModel
import Execution

/// Lets few joins in at a time: it is the one call of the agent protocol that strangers may make, and it takes database
/// connections and signatures. Nobody waits in a queue that strangers could fill; an agent that is sent away comes back.
final class JoinGate: Sendable {
  private static let most = 8
  private let inside = Lock(0)

  /// Throws when there are as many as may be; otherwise ``leave()`` must follow.
  func enter() throws(Problem) {
    let isLetIn = inside.withLock { inside in
      if inside == Self.most { return false }
      inside += 1
      return true
    }
    if !isLetIn { throw Problem(.unavailable, "too many nodes join at once; try again in a moment") }
  }

  func leave() { inside.withLock { $0 -= 1 } }
}
