/// Reads the supported part of ECMA-262's regular expressions; what is outside of it is refused, never misread.
struct PatternParser {
  private let scalars: [Unicode.Scalar]
  private var position = 0
  private var depth = 0

  init(_ source: String) { scalars = Array(source.unicodeScalars) }

  mutating func parse() throws(PatternError) -> PatternNode {
    let node = try choice()
    if position < scalars.count { throw PatternError(description: "\")\" without \"(\"") }
    return node
  }

  private var next: Unicode.Scalar? { position < scalars.count ? scalars[position] : nil }

  private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
    guard next == scalar else { return false }
    position += 1
    return true
  }

  private mutating func choice() throws(PatternError) -> PatternNode {
    depth += 1
    defer { depth -= 1 }
    if depth > 50 { throw PatternError(description: "groups are nested too deeply") }
    var branches = [try sequence()]
    while take("|") { branches.append(try sequence()) }
    return branches.count == 1 ? branches[0] : .choice(branches)
  }

  private mutating func sequence() throws(PatternError) -> PatternNode {
    var nodes: [PatternNode] = []
    while let scalar = next, scalar != "|", scalar != ")" { nodes.append(try quantified(try atom())) }
    return nodes.isEmpty ? .empty : .sequence(nodes)
  }

  private mutating func atom() throws(PatternError) -> PatternNode {
    let scalar = scalars[position]
    position += 1
    switch scalar {
    case "^": return .textStart
    case "$": return .textEnd
    case ".": return .scalars(.notLineEnd)
    case "[": return .scalars(try scalarClass())
    case "\\": return .scalars(try escape(inClass: false))
    case "(":
      if take("?"), !take(":") {
        throw PatternError(description: "look-around and named groups are not supported")
      }
      let node = try choice()
      guard take(")") else { throw PatternError(description: "\"(\" without \")\"") }
      return node
    case "*", "+", "?", "{", "}", "]":
      throw PatternError(description: "\"\(scalar)\" has nothing to repeat or close; write \"\\\(scalar)\" for itself")
    default: return .scalars(ScalarSet([scalar.value...scalar.value]))
    }
  }

  private mutating func quantified(_ node: PatternNode) throws(PatternError) -> PatternNode {
    let bounds: (minimum: Int, maximum: Int?)
    switch next {
    case "*": bounds = (0, nil)
    case "+": bounds = (1, nil)
    case "?": bounds = (0, 1)
    case "{":
      position += 1
      let minimum = try number()
      var maximum: Int? = minimum
      if take(",") { maximum = next == "}" ? nil : try number() }
      guard next == "}", maximum.map({ $0 >= minimum }) ?? true else {
        throw PatternError(description: "a repetition is written {n}, {n,} or {n,m}")
      }
      bounds = (minimum, maximum)
    default: return node
    }
    position += 1
    // A lazy quantifier changes which match is found, not whether there is one.
    _ = take("?")
    switch node {
    case .textStart, .textEnd: throw PatternError(description: "an anchor cannot be repeated")
    default: return .repetition(node, minimum: bounds.minimum, maximum: bounds.maximum)
    }
  }

  private mutating func number() throws(PatternError) -> Int {
    var value = 0
    let start = position
    while let scalar = next, ("0"..."9").contains(scalar) {
      value = value * 10 + Int(scalar.value - 0x30)
      if value > 1000 { throw PatternError(description: "repetitions beyond 1000 are not supported; use maxLength") }
      position += 1
    }
    if position == start { throw PatternError(description: "a repetition is written {n}, {n,} or {n,m}") }
    return value
  }

  private mutating func scalarClass() throws(PatternError) -> ScalarSet {
    let negated = take("^")
    var set = ScalarSet([])
    while let scalar = next, scalar != "]" {
      let low = try classMember()
      guard next == "-", position + 1 < scalars.count, scalars[position + 1] != "]" else {
        set = set.union(low)
        continue
      }
      position += 1
      let high = try classMember()
      guard let from = low.single, let to = high.single, from <= to else {
        throw PatternError(description: "a range in [] must go from a lower to a higher character")
      }
      set = set.union(ScalarSet([from...to]))
    }
    guard take("]") else { throw PatternError(description: "\"[\" without \"]\"") }
    return negated ? set.inverted : set
  }

  private mutating func classMember() throws(PatternError) -> ScalarSet {
    guard let scalar = next else { throw PatternError(description: "\"[\" without \"]\"") }
    position += 1
    return scalar == "\\" ? try escape(inClass: true) : ScalarSet([scalar.value...scalar.value])
  }

  private mutating func escape(inClass: Bool) throws(PatternError) -> ScalarSet {
    guard let scalar = next else { throw PatternError(description: "the pattern ends in \"\\\"") }
    position += 1
    switch scalar {
    case "d": return .digits
    case "D": return ScalarSet.digits.inverted
    case "w": return .word
    case "W": return ScalarSet.word.inverted
    case "s": return .space
    case "S": return ScalarSet.space.inverted
    case "t": return ScalarSet("\t")
    case "n": return ScalarSet("\n")
    case "r": return ScalarSet("\r")
    case "f": return ScalarSet("\u{0C}")
    case "v": return ScalarSet("\u{0B}")
    case "x": return try hexadecimal(digits: 2)
    case "u": return try hexadecimal(digits: 4)
    default:
      let isLetterOrDigit = ScalarSet.word.contains(scalar.value) && scalar != "_"
      if isLetterOrDigit {
        throw PatternError(description: "\"\\\(scalar)\" is not supported")
      }
      return ScalarSet([scalar.value...scalar.value])
    }
  }

  private mutating func hexadecimal(digits: Int) throws(PatternError) -> ScalarSet {
    guard position + digits <= scalars.count,
      let value = UInt32(String(String.UnicodeScalarView(scalars[position..<position + digits])), radix: 16)
    else { throw PatternError(description: "a hexadecimal escape needs \(digits) digits") }
    position += digits
    return ScalarSet([value...value])
  }
}

extension ScalarSet {
  /// The only member, when there is just one.
  fileprivate var single: UInt32? {
    ranges.count == 1 && ranges[0].count == 1 ? ranges[0].lowerBound : nil
  }
}
