import Foundation
import Northbound
import Postgres

/// Which replica writes: OVN's lock alone does not tell whether its holder can do anything with it.
extension NetworkController {
  /// How far the replica has come in its term.
  struct Progress: Sendable {
    /// When the database has last done what it was asked for OVN; nil: not yet.
    var served: TimeInterval?
    /// When the step that is under way began; nil: there is no term.
    var stepBegan: TimeInterval?
  }

  /// A term begins.
  func beginTerm() async throws {
    try await database.run { session in
      try session.execute("UPDATE network_controller SET replica = \(replica), seen_at = aloft_now()")
    }
    noteProgress()
  }

  func noteProgress() {
    progress.withLock { $0 = Progress(served: environment.uptime(), stepBegan: environment.uptime()) }
  }

  func endTerm() { progress.withLock { $0.stepBegan = nil } }

  /// Whether the replica is of no use as the one that writes: what failed is the database, and for too long.
  func shouldResign(after error: any Error) -> Bool {
    if error is NorthboundError { return false }
    guard let served = progress.withLock({ $0.served }) else { return true }
    return environment.uptime() - served >= times.withoutDatabase
  }

  /// Says that this replica writes, also while one step takes long; or, where another one is to write, looks whether it does.
  func keepTurns(_ watch: inout ControllerWatch) async throws {
    let began = progress.withLock { $0.stepBegan }
    do {
      if let began {
        _ = watch.look(nil, at: environment.uptime())
        // One that takes for ever is none.
        guard environment.uptime() - began < times.longestStep else { return }
        try await database.run { session in
          try session.execute("UPDATE network_controller SET replica = \(replica), seen_at = aloft_now()")
        }
        return
      }
      guard await writer.isQueued else {
        _ = watch.look(nil, at: environment.uptime())
        return
      }
      let word = try await database.one("SELECT replica::text || ' ' || seen_at::text FROM network_controller")
      guard watch.look(try word?.get(0, as: String?.self) ?? "nobody", at: environment.uptime()) else { return }
    } catch {
      _ = watch.look(nil, at: environment.uptime())
      throw error
    }
    logger.warning("the replica that has OVN's lock says nothing any more: the lock is taken from it")
    _ = watch.look(nil, at: environment.uptime())
    await writer.overtake()
  }
}
