/// Pauses between attempts: they double up to a limit, and a random part of up to half is taken off, so that many who failed
/// together do not come back together.
struct Backoff {
  let first: Duration
  let max: Duration

  /// The pause before attempt `attempt` (the second is 2).
  func pause(before attempt: Int, random: UInt64) -> Duration {
    let doublings = Swift.max(0, Swift.min(attempt - 2, 30))
    let whole = Swift.min(first * (1 << doublings), max)
    // The upper 20 bits, as a fraction of one half.
    return whole - whole / 2 * Int(random >> 44) / (1 << 20)
  }
}
