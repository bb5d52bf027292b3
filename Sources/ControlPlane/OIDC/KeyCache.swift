import Foundation

/// When an issuer's documents are read again: a rule without clock or network.
///
/// Invariants:
/// - Whatever tokens come, the issuer is asked once in ``pause`` at most.
/// - A key that the issuer has taken away is good for ``lifetime`` at most while the issuer answers, and for ``patience`` while it
///   does not.
struct KeyCache: Sendable {
  static let pause: TimeInterval = 10
  static let lifetime: TimeInterval = 600
  static let patience: TimeInterval = 4 * 3600

  enum Step: Equatable {
    /// Go by what is there.
    case use
    /// Read the documents first.
    case read
    /// There is nothing to go by, and it is too early to ask again.
    case wait(seconds: TimeInterval)
  }

  private var readAt: TimeInterval?
  private var triedAt: TimeInterval?

  /// Whether what was read last may still be gone by.
  func isUsable(at now: TimeInterval) -> Bool { readAt.map { now - $0 < Self.patience } ?? false }

  /// - Parameter isKnown: what is there has the key that is looked for.
  func step(isKnown: Bool, at now: TimeInterval) -> Step {
    let mayAsk = triedAt.map { now - $0 >= Self.pause } ?? true
    guard let readAt, isUsable(at: now) else {
      return mayAsk ? .read : .wait(seconds: Self.pause - (now - (triedAt ?? now)))
    }
    if mayAsk, !isKnown || now - readAt >= Self.lifetime { return .read }
    return .use
  }

  mutating func tried(at now: TimeInterval) { triedAt = now }

  mutating func wasRead(at now: TimeInterval) { readAt = now }
}
