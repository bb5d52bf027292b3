import AloftModel
import Execution
import Foundation

/// Keeps each token to its rate, and strangers from trying tokens without end. Each replica counts for itself.
final class RateLimiter: Sendable {
  typealias Verdict = RateMeter<UUID>.Verdict

  /// Unknown tokens from one address: enough for a script with a stale one, too few to search.
  private static let failures = RateLimit(perSecond: 5, burst: 50)
  private static let mostTokens = 20_000
  private static let mostAddresses = 20_000

  /// What a token may do; nil: as much as it likes.
  let limit: RateLimit?
  private let tokens: Lock<RateMeter<UUID>>
  private let addresses: Lock<RateMeter<String>>
  private let environment: Environment

  init(_ limit: RateLimit?, environment: Environment) {
    self.limit = limit
    self.environment = environment
    tokens = Lock(RateMeter(limit ?? RateLimit(perSecond: 1, burst: 1), capacity: Self.mostTokens))
    addresses = Lock(RateMeter(Self.failures, capacity: Self.mostAddresses))
  }

  private var now: Double { environment.uptime() }

  /// Counts a call by a token or in a session. Nil when nothing is limited.
  func take(_ caller: UUID) -> Verdict? {
    guard limit != nil else { return nil }
    return tokens.withLock { $0.take(caller, at: now) }
  }

  /// Refuses an address that has sent too many tokens that are none.
  func admit(_ address: String) throws {
    guard limit != nil else { return }
    let verdict = addresses.withLock { $0.look(Self.site(address), at: now) }
    if !verdict.isAllowed {
      throw RateLimited(wait: verdict.wait, detail: "too many unknown tokens came from \(address)")
    }
  }

  /// Counts a token that is none.
  func failed(_ address: String) {
    if limit != nil { _ = addresses.withLock { $0.take(Self.site(address), at: now) } }
  }

  /// How many callers are told apart now.
  var callers: Int { tokens.withLock { $0.count } + addresses.withLock { $0.count } }

  /// An IPv4 address, or the /64 that one IPv6 site owns.
  static func site(_ address: String) -> String {
    var bytes = in6_addr()
    guard inet_pton(AF_INET6, address, &bytes) == 1 else { return address }
    return withUnsafeBytes(of: bytes) { $0.prefix(8).map { String($0, radix: 16) }.joined(separator: ".") }
  }
}

/// Somebody calls too often.
struct RateLimited: Error {
  /// Until the next call may come, in seconds.
  var wait: Double
  var detail: String
  /// The most that is taken at once, where that is told with the refusal.
  var limit: Int?

  /// As `Retry-After` has it (RFC 9110, 10.2.3).
  var seconds: Int { max(1, Int(wait.rounded(.up))) }
}
