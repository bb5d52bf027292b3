/// A regular expression of JSON Schema's `pattern`: ECMA-262 syntax without look-around and back references, searched
/// anywhere in the text, over Unicode scalars.
///
/// Compiled once to a table (a deterministic automaton), so a match costs one look-up per scalar whatever the text says:
/// no input can make it slow, which no backtracking engine can promise.
struct Pattern: Sendable {
  let source: String
  private let automaton: Automaton

  init(_ source: String) throws(PatternError) {
    self.source = source
    var parser = PatternParser(source)
    automaton = try Automaton(try parser.parse())
  }

  func matches(_ text: String) -> Bool { automaton.matches(text.unicodeScalars) }
}

/// Why a pattern cannot be used.
struct PatternError: Error, CustomStringConvertible {
  let description: String
}

/// The syntax tree of a pattern.
indirect enum PatternNode {
  case empty
  case scalars(ScalarSet)
  case textStart
  case textEnd
  case sequence([PatternNode])
  case choice([PatternNode])
  /// `maximum` nil means without end.
  case repetition(PatternNode, minimum: Int, maximum: Int?)
}

/// A set of Unicode scalars as sorted, disjoint ranges.
struct ScalarSet: Equatable {
  private(set) var ranges: [ClosedRange<UInt32>]

  init(_ ranges: [ClosedRange<UInt32>]) {
    var merged: [ClosedRange<UInt32>] = []
    for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
      if let last = merged.last, range.lowerBound <= last.upperBound &+ 1 {
        merged[merged.count - 1] = last.lowerBound...max(last.upperBound, range.upperBound)
      } else {
        merged.append(range)
      }
    }
    self.ranges = merged
  }

  init(_ scalars: String) { self.init(scalars.unicodeScalars.map { $0.value...$0.value }) }

  var inverted: ScalarSet {
    var gaps: [ClosedRange<UInt32>] = []
    var next: UInt32 = 0
    for range in ranges {
      if range.lowerBound > next { gaps.append(next...range.lowerBound - 1) }
      next = range.upperBound + 1
    }
    if next <= 0x10FFFF { gaps.append(next...0x10FFFF) }
    return ScalarSet(gaps)
  }

  func union(_ other: ScalarSet) -> ScalarSet { ScalarSet(ranges + other.ranges) }
  func contains(_ value: UInt32) -> Bool { ranges.contains { $0.contains(value) } }

  static let digits = ScalarSet([0x30...0x39])
  static let word = ScalarSet([0x30...0x39, 0x41...0x5A, 0x5F...0x5F, 0x61...0x7A])
  static let space = ScalarSet("\t\n\u{0B}\u{0C}\r \u{A0}\u{1680}\u{2028}\u{2029}\u{202F}\u{205F}\u{3000}\u{FEFF}")
    .union(ScalarSet([0x2000...0x200A]))
  static let notLineEnd = ScalarSet("\n\r\u{2028}\u{2029}").inverted
}
