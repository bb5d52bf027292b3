import Execution

/// What happened in one history: a hash of all of it, the last lines, and counts.
final class Trace: Sendable {
  private struct State {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    var lines: [String] = []
    var counts: [String: Int] = [:]
  }

  /// How many lines are kept.
  static let kept = 60

  private let state = Lock(State())
  private let clock: @Sendable () -> Int
  /// Prints every line as it comes.
  private let isLoud: Bool

  /// - Parameter clock: milliseconds of virtual time.
  init(isLoud: Bool, clock: @escaping @Sendable () -> Int) {
    self.isLoud = isLoud
    self.clock = clock
  }

  /// Notes one thing. Whatever the line says must be the same in every run of the seed.
  func note(_ text: String) {
    let line = "\(clock()) \(text)"
    state.withLock { state in
      for byte in line.utf8 { state.hash = (state.hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
      state.lines.append(line)
      if state.lines.count > 2 * Self.kept { state.lines.removeFirst(Self.kept) }
    }
    if isLoud { print(line) }
  }

  /// Counts something that the set of histories must have seen.
  func count(_ what: String, by number: Int = 1) { state.withLock { $0.counts[what, default: 0] += number } }

  var hash: UInt64 { state.withLock { $0.hash } }
  var counts: [String: Int] { state.withLock { $0.counts } }
  var lastLines: [String] { state.withLock { $0.lines.suffix(Self.kept) } }
}

/// A hash of bytes that is the same in every process (FNV-1a).
func stableHash(_ bytes: [UInt8]) -> String {
  String(bytes.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }, radix: 16)
}
