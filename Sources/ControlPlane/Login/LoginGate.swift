import AloftModel
import Execution
import Foundation

/// What stands before every login: the limits, the threads that hash, and how many failures are recorded.
struct LoginGate: Sendable {
  let hasher: PasswordHasher
  let limits: LoginLimits
  private let records: Lock<RateMeter<Int>>
  private let environment: Environment

  /// Records of failed logins: strangers make them, so there is a most for them all.
  private static let recorded = RateLimit(perSecond: 2, burst: 200)

  init(cost: PasswordCost, environment: Environment) {
    hasher = PasswordHasher(cost: cost, environment: environment)
    limits = LoginLimits(environment: environment)
    records = Lock(RateMeter(Self.recorded, capacity: 2))
    self.environment = environment
  }

  /// Whether one more failed login may be recorded.
  func mayRecord() -> Bool {
    let now = environment.uptime()
    return records.withLock { $0.take(0, at: now).isAllowed }
  }
}
