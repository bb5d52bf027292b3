/// Which remote is next, and how long to wait before it. A value without effects.
///
/// The remotes are tried one after another without a pause; when all have failed, a pause follows that doubles with each
/// round, drawn evenly between half and all of it, so that clients do not come back together.
struct RemoteRotation {
  let remotes: [Remote]
  let firstPause: Duration
  let longestPause: Duration
  private(set) var index = 0
  /// Attempts since a connection last stood for a while.
  private var failures = 0

  init(remotes: [Remote], firstPause: Duration, longestPause: Duration) {
    self.remotes = remotes
    self.firstPause = firstPause
    self.longestPause = longestPause
  }

  var current: Remote { remotes[index] }

  /// The connection stood for so long that what happened before does not count any more.
  mutating func settled() { failures = 0 }

  /// The current remote failed, is gone or is not the leader: the next one is current now. Returns the pause before it;
  /// `random` is in 0..<1.
  mutating func advance(random: Double) -> Duration {
    index = (index + 1) % remotes.count
    failures += 1
    guard failures.isMultiple(of: remotes.count) else { return .zero }
    let round = failures / remotes.count
    return min(firstPause * (1 << min(round - 1, 20)), longestPause) * (0.5 + random / 2)
  }
}
