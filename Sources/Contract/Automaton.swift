/// A deterministic automaton that searches a text for a pattern: Thompson's construction, then subsets, all at load.
struct Automaton: Sendable {
  /// Beyond this a pattern costs more memory than it is worth.
  static let maximumStates = 4000

  private static let dead = 0
  /// `transitions[state * classCount + class]`.
  private let transitions: [UInt16]
  private let classCount: Int
  /// First scalar value of each class, ascending.
  private let classStarts: [UInt32]
  private let asciiClasses: [UInt16]
  /// Matched already, whatever follows.
  private let accepts: [Bool]
  /// Matched if the text ends here.
  private let acceptsAtEnd: [Bool]
  private let start: Int

  init(_ pattern: PatternNode) throws(PatternError) {
    var nfa = NFA()
    let match = try nfa.add(.match)
    let entry = try nfa.build(pattern, next: match)
    var starts: Set<UInt32> = [0]
    for case .scalars(let set, _) in nfa.states {
      for range in set.ranges {
        starts.insert(range.lowerBound)
        if range.upperBound < 0x10FFFF { starts.insert(range.upperBound + 1) }
      }
    }
    let classStarts = starts.sorted()
    self.classStarts = classStarts
    classCount = classStarts.count
    asciiClasses = (0..<128).map { value in UInt16(Self.classIndex(of: value, in: classStarts)) }

    // Every position may begin a match, so the entry joins each set; anchored patterns die there at once.
    let again = nfa.closure([entry], atStart: false, atEnd: false)
    var sets: [[Int]] = [[], nfa.closure([entry], atStart: true, atEnd: false)]
    var numbers: [[Int]: Int] = again.isEmpty ? [sets[0]: Self.dead] : [:]
    start = 1
    numbers[sets[1]] = 1
    var transitions: [UInt16] = []
    var accepts: [Bool] = []
    var acceptsAtEnd: [Bool] = []
    var current = 0
    while current < sets.count {
      let set = sets[current]
      let accepted = set.contains(match)
      accepts.append(accepted)
      acceptsAtEnd.append(nfa.closure(set, atStart: current == 1, atEnd: true).contains(match))
      for classStart in classStarts {
        // Nothing needs to be known beyond an accepting or the dead state.
        if accepted || current == Self.dead {
          transitions.append(UInt16(current))
          continue
        }
        let moved = set.compactMap { nfa.step($0, classStart) }
        let target = Array(Set(nfa.closure(moved, atStart: false, atEnd: false)).union(again)).sorted()
        if let number = numbers[target] {
          transitions.append(UInt16(number))
        } else {
          guard sets.count < Self.maximumStates else { throw PatternError(description: "the pattern is too complex") }
          numbers[target] = sets.count
          transitions.append(UInt16(sets.count))
          sets.append(target)
        }
      }
      current += 1
    }
    self.transitions = transitions
    self.accepts = accepts
    self.acceptsAtEnd = acceptsAtEnd
  }

  func matches(_ text: String.UnicodeScalarView) -> Bool {
    var state = start
    for scalar in text {
      if accepts[state] { return true }
      if state == Self.dead { return false }
      let value = scalar.value
      let index = value < 128 ? Int(asciiClasses[Int(value)]) : Self.classIndex(of: value, in: classStarts)
      state = Int(transitions[state * classCount + index])
    }
    return accepts[state] || acceptsAtEnd[state]
  }

  private static func classIndex(of value: UInt32, in starts: [UInt32]) -> Int {
    var low = 0
    var high = starts.count
    while high - low > 1 {
      let middle = (low + high) / 2
      if starts[middle] <= value { low = middle } else { high = middle }
    }
    return low
  }
}

/// The non-deterministic automaton in between.
private struct NFA {
  enum State {
    case match
    case scalars(ScalarSet, Int)
    case split([Int])
    case textStart(Int)
    case textEnd(Int)
  }

  private(set) var states: [State] = []

  mutating func add(_ state: State) throws(PatternError) -> Int {
    guard states.count < 20_000 else { throw PatternError(description: "the pattern is too complex") }
    states.append(state)
    return states.count - 1
  }

  /// Builds from the end to the front: the state that leads through `node` to `next`.
  mutating func build(_ node: PatternNode, next: Int) throws(PatternError) -> Int {
    switch node {
    case .empty: return next
    case .scalars(let set): return try add(.scalars(set, next))
    case .textStart: return try add(.textStart(next))
    case .textEnd: return try add(.textEnd(next))
    case .sequence(let nodes):
      var entry = next
      for node in nodes.reversed() { entry = try build(node, next: entry) }
      return entry
    case .choice(let nodes):
      var entries: [Int] = []
      for node in nodes { entries.append(try build(node, next: next)) }
      return try add(.split(entries))
    case .repetition(let node, let minimum, let maximum):
      var entry = next
      if let maximum {
        for _ in minimum..<maximum { entry = try add(.split([try build(node, next: entry), next])) }
      } else {
        let loop = try add(.split([]))
        states[loop] = .split([try build(node, next: loop), next])
        entry = loop
      }
      for _ in 0..<minimum { entry = try build(node, next: entry) }
      return entry
    }
  }

  func step(_ state: Int, _ value: UInt32) -> Int? {
    guard case .scalars(let set, let next) = states[state], set.contains(value) else { return nil }
    return next
  }

  /// What can be reached without reading, sorted; only states that can still do something.
  func closure(_ entries: [Int], atStart: Bool, atEnd: Bool) -> [Int] {
    var seen: Set<Int> = []
    var result: [Int] = []
    var pending = entries
    while let state = pending.popLast() {
      guard seen.insert(state).inserted else { continue }
      switch states[state] {
      case .split(let targets): pending += targets
      case .textStart(let next): if atStart { pending.append(next) }
      case .textEnd(let next):
        if atEnd { pending.append(next) } else { result.append(state) }
      case .match, .scalars: result.append(state)
      }
    }
    return result.sorted()
  }
}
