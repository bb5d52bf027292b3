/// How long to wait before the next attempt: doubling from `first` up to `limit`, each wait drawn evenly between half and
/// all of it, so that those who failed together do not come back together.
public struct Backoff: Sendable {
  public var first: Duration
  public var limit: Duration
  /// Gives a number in 0..<1; a simulation passes its own.
  public var random: @Sendable () -> Double

  public init(
    first: Duration, limit: Duration, random: @escaping @Sendable () -> Double = { Double.random(in: 0..<1) }
  ) {
    self.first = first
    self.limit = limit
    self.random = random
  }

  /// The wait before attempt `attempt` (1 = the first repetition).
  public func delay(attempt: Int) -> Duration {
    let doubled = first * (1 << min(max(attempt - 1, 0), 20))
    return min(doubled, limit) * (0.5 + random() / 2)
  }
}
