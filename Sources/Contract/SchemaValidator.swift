import JSON

/// Checks values against compiled schemas and collects what is wrong, in one pass and bounded in time and result.
struct SchemaValidator {
  enum Direction {
    case request, response
    /// A value of the document itself, which may show what either direction has.
    case example
  }

  let table: SchemaTable
  let direction: Direction
  /// Where the value is; `.body` grows by the path inside of the value.
  let base: Violation.Location
  private(set) var violations: [Violation] = []
  private var path: [String] = []
  /// How many more schemas may be visited: bounds what nested alternatives can multiply to.
  private var budget = 200_000

  init(_ table: SchemaTable, _ direction: Direction, at base: Violation.Location) {
    self.table = table
    self.direction = direction
    self.base = base
  }

  /// Everything that is wrong with a value.
  static func violations(
    of value: JSONValue, against schema: SchemaID, in table: SchemaTable, _ direction: Direction,
    at base: Violation.Location
  ) -> [Violation] {
    var validator = SchemaValidator(table, direction, at: base)
    if direction == .request { validator.refuseNullCharacters(in: value) }
    validator.validate(value, schema)
    // What was found by then may be half of the truth, and an alternative may have seemed to fit.
    if validator.budget <= 0 {
      return [Violation(.tooComplex, base, "has too many alternatives to check; send less at once")]
    }
    return validator.violations
  }

  var isFull: Bool { violations.count >= Violation.limit }

  mutating func add(_ kind: Violation.Kind, _ message: @autoclosure () -> String, member: String? = nil) {
    guard !isFull else { return }
    var location = base
    if case .body(let pointer) = base {
      location = .body(JSONPointer(pointer.tokens + path + (member.map { [$0] } ?? [])))
    }
    let violation = Violation(kind, location, message())
    // Several schemas for one value (`$ref` beside keywords, `allOf`) may find the same fault.
    if !violations.contains(violation) { violations.append(violation) }
  }

  /// Refuses U+0000 wherever it is, also where no schema looks: PostgreSQL cannot store it. In an answer it may be: there it
  /// quotes what was refused.
  private mutating func refuseNullCharacters(in value: JSONValue) {
    switch value {
    case .string(let text):
      if text.utf8.contains(0) { add(.nullCharacter, "must not contain the character U+0000") }
    case .array(let elements):
      for (position, element) in elements.enumerated() {
        path.append(String(position))
        refuseNullCharacters(in: element)
        path.removeLast()
      }
    case .object(let object):
      for (name, member) in object {
        path.append(name)
        if name.utf8.contains(0) { add(.nullCharacter, "must not contain the character U+0000 in its name") }
        refuseNullCharacters(in: member)
        path.removeLast()
      }
    case .null, .bool, .integer, .number: break
    }
  }

  mutating func validate(_ value: JSONValue, _ id: SchemaID, at token: String) {
    path.append(token)
    validate(value, id)
    path.removeLast()
  }

  mutating func validate(_ value: JSONValue, _ id: SchemaID) {
    budget -= 1
    guard !isFull, budget > 0 else { return }
    let schema = table[id]
    if schema.refusesAll {
      add(.forbidden, "must be absent")
      return
    }
    if let ref = schema.ref { validate(value, ref) }
    if let types = schema.types, types.isDisjoint(with: JSONTypes(of: value)) {
      add(.wrongType, "must be \(types.phrase), not \(value.typeName)")
      return
    }
    if let values = schema.values, !values.contains(value) {
      add(.notOneOf, "must be \(Self.list(values)), not \(Self.short(value))")
    }
    switch value {
    case .string(let text): validate(text, schema.string)
    case .integer, .number: if let rules = schema.number { validate(number: value, rules) }
    case .array(let elements): validate(elements, schema.array)
    case .object(let object): validate(object, schema.object)
    case .null, .bool: break
    }
    for branch in schema.allOf { validate(value, branch) }
    if !schema.anyOf.isEmpty { alternatives(value, schema.anyOf, exactlyOne: false) }
    if !schema.oneOf.isEmpty { alternatives(value, schema.oneOf, exactlyOne: true) }
    if let not = schema.not, attempt(value, not).isEmpty {
      add(.forbidden, "has a form that is not allowed here")
    }
  }

  // MARK: alternatives

  private mutating func attempt(_ value: JSONValue, _ id: SchemaID) -> [Violation] {
    var trial = self
    trial.violations = []
    trial.validate(value, id)
    budget = trial.budget
    return trial.violations
  }

  private mutating func alternatives(_ value: JSONValue, _ branches: [SchemaID], exactlyOne: Bool) {
    var matches = 0
    var failures: [[Violation]] = []
    for branch in branches {
      let found = attempt(value, branch)
      if found.isEmpty {
        matches += 1
        if !exactlyOne { return }
      } else {
        failures.append(found)
      }
    }
    if matches == 1 { return }
    if matches > 1 {
      add(.notOneOf, "fits \(matches) of the alternatives where it must fit exactly one")
      return
    }
    // The alternative that was meant is the one that fails deeper than at the value itself or its discriminating member.
    let meant = failures.filter { !failsAtOnce($0) }
    if let chosen = meant.count == 1 ? meant.first : (failures.count == 1 ? failures.first : nil) {
      violations += chosen.prefix(Violation.limit - violations.count)
      return
    }
    let closest = failures.min { $0.count < $1.count }?.first
    add(
      .notOneOf,
      "fits none of the \(branches.count) alternatives"
        + (closest.map { "; for the closest one, \($0.location) \($0.message)" } ?? ""))
  }

  /// Whether an alternative was ruled out by the value's type or by a fixed member, so that it cannot have been meant.
  private func failsAtOnce(_ violations: [Violation]) -> Bool {
    violations.contains { violation in
      guard case .body(let pointer) = violation.location, case .body(let start) = base else {
        return violation.kind == .wrongType
      }
      let depth = pointer.tokens.count - start.tokens.count - path.count
      return (violation.kind == .wrongType && depth == 0) || (violation.kind == .notOneOf && depth <= 1)
    }
  }

  // MARK: words

  static func list(_ values: [JSONValue]) -> String {
    let shown = values.prefix(20).map(short).joined(separator: ", ")
    return values.count == 1 ? shown : "one of \(shown)\(values.count > 20 ? ", …" : "")"
  }

  /// A value as it may be repeated in a message: short, whatever was sent.
  static func short(_ value: JSONValue) -> String {
    switch value {
    case .string(let text): "\"\(text.count > 40 ? text.prefix(40) + "…" : text)\""
    case .array: "an array"
    case .object: "an object"
    default: value.description
    }
  }
}
