import Foundation

/// What a replica that waits for its turn sees of the one that writes to OVN: whether it has stopped to say that it does.
///
/// OVN's lock is a connection's, and a process that stands still keeps its connection. Times are those of one clock, the
/// watching replica's own; the word of the other one is only compared with itself.
struct ControllerWatch: Sendable {
  /// For how long the word may stay the same, in seconds.
  let patience: TimeInterval
  private var word: String?
  private var since: TimeInterval = 0

  init(patience: TimeInterval) { self.patience = patience }

  /// Takes in what is written now, and says whether it has stood there for too long. Nil when it could not be read, or when
  /// there is nobody to wait for: then nothing is known of the time before.
  mutating func look(_ word: String?, at now: TimeInterval) -> Bool {
    if word == nil || word != self.word {
      self.word = word
      since = now
    }
    return word != nil && now - since >= patience
  }
}
