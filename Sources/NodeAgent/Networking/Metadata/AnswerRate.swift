import IPAddressing

/// How many DNS queries of each guest are answered: a steady rate, and bursts. What is beyond is dropped.
///
/// Guests share a fixed number of places by their addresses, with a secret of the process in it: one that makes up addresses
/// takes no memory, and cannot choose whom it disturbs.
struct AnswerRate: Sendable {
  /// Milliseconds between two answers.
  static let interval = 5
  /// How many answers may come at once.
  static let burst = 400
  private static let places = 256

  /// Until when each place has used its rate, in milliseconds of uptime.
  private var used = [Int](repeating: 0, count: places)

  /// Whether this query is answered; counts it if so.
  ///
  /// - Parameter now: milliseconds of uptime.
  mutating func allows(_ source: IPAddress, now: Int) -> Bool {
    let place = Self.place(of: source)
    let begin = max(used[place], now)
    guard begin - now < Self.burst * Self.interval else { return false }
    used[place] = begin + Self.interval
    return true
  }

  static func place(of source: IPAddress) -> Int { Int(UInt(bitPattern: source.hashValue) % UInt(places)) }
}
