import AloftModel
import Execution
import Foundation
import Logging
import Postgres

/// Keeps what known callers were refused until it is written, many at once and behind the requests: a refusal must cost no more
/// than its answer, or refusals would be a way to keep the database busy.
///
/// Invariants:
/// - What was refused is in the audit within ``tick``, or with the next tick that reaches the database.
/// - Memory is bounded: beyond ``most`` the newest are counted and left out, and the log says how many.
final class RefusalLog: Sendable {
  static let tick = Duration.seconds(1)
  static let most = 2_000
  private static let batch = 500

  private struct State {
    var waiting: [SQL] = []
    var leftOut = 0
  }

  private let state = Lock(State())
  private let database: Database
  private let environment: Environment
  private let logger: Logger

  init(database: Database, environment: Environment, logger: Logger) {
    self.database = database
    self.environment = environment
    self.logger = logger
  }

  /// Remembers that a call was refused.
  func note(_ call: Call, code: ProblemCode) {
    let statement = AuditTrail.refusing(call, code: code)
    state.withLock { state in
      if state.waiting.count < Self.most { state.waiting.append(statement) } else { state.leftOut += 1 }
    }
  }

  /// Counts a refusal that is not to be recorded, because there are too many like it.
  func leaveOut() { state.withLock { $0.leftOut += 1 } }

  /// Writes what is there. What cannot be written stays for the next time.
  func step() async throws {
    while true {
      let statements = state.withLock { state in
        let taken = Array(state.waiting.prefix(Self.batch))
        state.waiting.removeFirst(taken.count)
        return taken
      }
      if statements.isEmpty { break }
      do {
        try await database.transaction { session in
          for statement in statements { _ = try session.execute(statement) }
        }
      } catch {
        state.withLock { $0.waiting.insert(contentsOf: statements, at: 0) }
        throw error
      }
    }
    let leftOut = state.withLock { state in
      defer { state.leftOut = 0 }
      return state.leftOut
    }
    if leftOut > 0 { logger.warning("refusals were left out of the audit", metadata: ["count": "\(leftOut)"]) }
  }

  /// Writes until cancelled, and what is left then.
  func run() async {
    repeat {
      try? await environment.sleep(Self.tick)
      await attempt()
    } while !Task.isCancelled
  }

  private func attempt() async {
    // Also when the replica is about to go down: what it has refused is to be on record.
    await Task { [self] in
      do { try await step() } catch {
        logger.warning("refusals wait to be recorded", metadata: ["error": "\(error)"])
      }
    }.value
  }
}
