import Foundation
import Logging
import Postgres

/// Looks at one resource: loads it, decides, performs the decision in the session's transaction, and says when to look again.
protocol Reconciler: Sendable {
  /// What is due is judged by the database's clock. Topics to wake are told through `effects`.
  func reconcile(_ id: UUID, in session: Session, effects: inout Effects) throws -> Date?
}

/// What a transaction wants done behind its commit.
struct Effects: Sendable {
  var wake: Set<Topic> = []
  /// Contents in the image store that no image names any more.
  var removedUploads: [UUID] = []
}

/// Takes due rows and runs their reconcilers. Every replica runs one; they share the queue by `SKIP LOCKED`.
struct Worker: Sendable {
  static let batch = 32
  /// How many rows a running worker works on at a time: each is a transaction that mostly waits for the disk.
  static let width = 4
  /// Looks at the queue at least this often, whatever wake-ups were lost.
  static let longestPause = Duration.seconds(2)

  let database: Database
  let wakeups: Wakeups
  let images: ImageContents
  let reconcilers: [WorkKind: any Reconciler]
  let environment: Environment
  let logger: Logger

  /// Runs what is due now, `width` rows at a time. Returns how many rows it took.
  func step(width: Int = 1) async throws -> Int {
    let items = try await database.transaction { session in
      try WorkQueue.take(Array(reconcilers.keys), limit: Self.batch, in: session)
    }
    guard width > 1, items.count > 1 else {
      for item in items {
        // Stopping: what was not begun comes back when its lease ends.
        try Task.checkCancellation()
        await run(item)
      }
      return items.count
    }
    try await withThrowingTaskGroup(of: Void.self) { group in
      for (index, item) in items.enumerated() {
        if index >= width { try await group.next() }
        try Task.checkCancellation()
        group.addTask { await run(item) }
      }
      try await group.waitForAll()
    }
    return items.count
  }

  /// Runs until cancelled. A database that is away is waited for.
  func run() async {
    while !Task.isCancelled {
      let ticket = wakeups.ticket(.work)
      do {
        if try await step(width: Self.width) > 0 { continue }
        await wakeups.wait(for: .work, since: ticket, atMost: try await pause())
      } catch is CancellationError {
        return
      } catch {
        logger.warning("the work queue cannot be read", metadata: ["error": "\(error)"])
        try? await environment.sleep(.seconds(1))
      }
    }
  }

  private func pause() async throws -> Duration {
    let seconds = try await database.run { session in
      try WorkQueue.secondsToNext(Array(reconcilers.keys), in: session)
    }
    guard let seconds else { return Self.longestPause }
    return min(Self.longestPause, .milliseconds(Int(max(5, seconds * 1000))))
  }

  private func run(_ item: WorkItem) async {
    guard let reconciler = reconcilers[item.kind] else { return }
    do {
      let effects = try await database.transaction { session in
        var effects = Effects()
        let next = try reconciler.reconcile(item.id, in: session, effects: &effects)
        try session.commit(with: WorkQueue.finishing(item, next: next))
        return effects
      }
      wakeups.signal(effects.wake)
      for upload in effects.removedUploads { await images.remove(upload) }
    } catch {
      logger.error(
        "a reconciler failed",
        metadata: [
          "kind": "\(item.kind.rawValue)", "id": "\(item.id)", "attempt": "\(item.attempts)", "error": "\(error)",
        ])
      let pause = Backoff.pause(attempt: item.attempts, random: environment.random())
      _ = try? await database.transaction { session in
        try WorkQueue.fail(item, error: "\(error)", pause: pause, in: session)
      }
    }
  }
}

/// Growing pauses between tries, spread so that many do not try at once.
enum Backoff {
  /// 0.25 s, 0.5 s, 1 s … at most a minute, each between half and the whole of it.
  static func pause(attempt: Int, random: UInt64) -> Duration {
    let whole = min(60_000, 250 << min(max(attempt - 1, 0), 16))
    return .milliseconds(whole / 2 + Int(random % UInt64(whole / 2 + 1)))
  }
}
