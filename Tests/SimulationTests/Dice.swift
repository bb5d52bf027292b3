import Execution
import NodeAgent

/// Chance from a seed, for several users that take turns.
final class Dice: Sendable {
  private let random: Lock<SplitMix>

  init(seed: UInt64) { random = Lock(SplitMix(seed: seed)) }

  func next() -> UInt64 { random.withLock { $0.next() } }

  func happens(_ probability: Double) -> Bool {
    probability > 0 && Double(next() >> 11) / Double(1 << 53) < probability
  }

  func number(in range: ClosedRange<Int>) -> Int { random.withLock { Int.random(in: range, using: &$0) } }
}
