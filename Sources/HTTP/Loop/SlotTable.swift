/// Who is behind each epoll event, and when each wants to be woken.
struct SlotTable {
  enum Handler {
    case connection(Connection)
    case listener(Listener)
  }

  /// A slot and the generation of its use.
  struct Token: Equatable, Sendable {
    let rawValue: UInt64

    init(rawValue: UInt64) { self.rawValue = rawValue }
    init(slot: Int, generation: UInt32) { rawValue = UInt64(slot) << 32 | UInt64(generation) }

    var slot: Int { Int(rawValue >> 32) }
    var generation: UInt32 { UInt32(truncatingIfNeeded: rawValue) }
  }

  static let wakeToken = UInt64.max

  private var handlers: [Handler?] = []
  private var generations: [UInt32] = []
  /// Apart from the rest, so that looking for those that are due reads memory in order.
  private var deadlines: [Int64] = []
  private var free: [Int] = []
  /// No deadline is earlier than this; there may be none at it, when one was put off.
  private(set) var nextDeadline = Int64.max

  mutating func insert(_ handler: Handler) -> Token {
    if let slot = free.popLast() {
      handlers[slot] = handler
      return Token(slot: slot, generation: generations[slot])
    }
    handlers.append(handler)
    generations.append(0)
    deadlines.append(.max)
    return Token(slot: handlers.count - 1, generation: 0)
  }

  mutating func remove(_ token: Token) {
    guard handler(for: token) != nil else { return }
    handlers[token.slot] = nil
    generations[token.slot] &+= 1
    deadlines[token.slot] = .max
    free.append(token.slot)
  }

  func handler(for token: Token) -> Handler? {
    guard token.slot < handlers.count, generations[token.slot] == token.generation else { return nil }
    return handlers[token.slot]
  }

  mutating func setDeadline(_ deadline: Int64, for token: Token) {
    guard handler(for: token) != nil else { return }
    deadlines[token.slot] = deadline
    if deadline < nextDeadline { nextDeadline = deadline }
  }

  /// The handlers whose deadline has passed; it is cleared.
  mutating func takeDue(at now: Int64) -> [Handler] {
    guard nextDeadline <= now else { return [] }
    var due: [Handler] = []
    var next = Int64.max
    for slot in deadlines.indices {
      let deadline = deadlines[slot]
      if deadline > now {
        if deadline < next { next = deadline }
      } else if let handler = handlers[slot] {
        deadlines[slot] = .max
        due.append(handler)
      }
    }
    nextDeadline = next
    return due
  }

  var connections: [Connection] {
    handlers.compactMap { if case .connection(let connection) = $0 { connection } else { nil } }
  }
}
