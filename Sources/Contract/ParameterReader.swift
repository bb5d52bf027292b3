import JSON

/// Turns the texts of parameters into checked values.
struct ParameterReader {
  /// More query parameters than any operation has; bounds what a long query can cost.
  static let maximumQueryParameters = 256

  let table: SchemaTable
  private(set) var values: [String: JSONValue] = [:]
  private(set) var violations: [Violation] = []

  init(table: SchemaTable) { self.table = table }

  mutating func add(_ kind: Violation.Kind, _ location: Violation.Location, _ message: String) {
    if violations.count < Violation.limit { violations.append(Violation(kind, location, message)) }
  }

  /// Splits a query into names and still encoded values, and refuses unknown names.
  mutating func readQuery(_ query: String, _ operation: Operation) -> [(name: String, value: String)] {
    var pairs: [(name: String, value: String)] = []
    if query.isEmpty { return pairs }
    var refused = Set<String>()
    for part in query.split(separator: "&") {
      let equals = part.firstIndex(of: "=")
      let rawName = part[..<(equals ?? part.endIndex)]
      guard let name = PercentCoding.decode(rawName, plusIsSpace: true) else {
        add(.malformed, .query(String(rawName.prefix(64))), "must have a name in percent-encoded UTF-8")
        continue
      }
      guard operation.queryNames.contains(name) else {
        if refused.insert(name).inserted { add(.unknownParameter, .query(printable(name)), unknown(name, operation)) }
        continue
      }
      guard pairs.count < Self.maximumQueryParameters else {
        add(.tooMany, .query(name), "must be given fewer times")
        break
      }
      pairs.append((name, equals.map { String(part[part.index(after: $0)...]) } ?? ""))
    }
    return pairs
  }

  private func printable(_ name: String) -> String { String(name.prefix(64)).replacing("\0", with: "\u{FFFD}") }

  private func unknown(_ name: String, _ operation: Operation) -> String {
    if let closest = Spelling.closest(to: name, among: operation.queryNames) {
      return "is not known here; did you mean \(closest)?"
    }
    return operation.queryNames.isEmpty
      ? "is not known here; this operation has no query parameters"
      : "is not known here; known are \(operation.queryNames.joined(separator: ", "))"
  }

  /// Reads one parameter from its texts; `isEncoded` when they are still as in the query.
  mutating func read(_ parameter: Parameter, _ texts: [String], isEncoded: Bool) {
    let location = parameter.violationLocation
    guard !texts.isEmpty else {
      if let value = parameter.defaultValue {
        values[parameter.name] = value
      } else if parameter.required {
        add(.missing, location, "is required")
      }
      return
    }
    let value: JSONValue
    switch parameter.shape {
    case .scalar(let types):
      guard texts.count == 1 else {
        add(.duplicate, location, "must be given once, not \(texts.count) times")
        return
      }
      guard let scalar = scalar(texts[0], types, location, isEncoded) else { return }
      value = scalar
    case .array(let types):
      var items: [JSONValue] = []
      let parts = parameter.explode && parameter.location == .query ? texts.map { $0[...] } : split(texts)
      for part in parts {
        guard let item = scalar(String(part), types, location, isEncoded) else { return }
        items.append(item)
      }
      value = .array(items)
    }
    let found = SchemaValidator.violations(of: value, against: parameter.schema, in: table, .request, at: location)
    if found.isEmpty {
      values[parameter.name] = value
    } else {
      violations += found.prefix(Violation.limit - violations.count)
    }
  }

  /// The items of a list with commas; blanks around them belong to the header syntax.
  private func split(_ texts: [String]) -> [Substring] {
    texts.flatMap { text in
      text.split(separator: ",", omittingEmptySubsequences: false).map(\.trimmed)
    }
  }

  private mutating func scalar(
    _ text: String, _ types: JSONTypes, _ location: Violation.Location, _ isEncoded: Bool
  ) -> JSONValue? {
    guard let decoded = isEncoded ? PercentCoding.decode(text[...], plusIsSpace: true) : text else {
      add(.malformed, location, "must be percent-encoded UTF-8")
      return nil
    }
    guard let value = ParameterShape.scalar(decoded, types) else {
      add(.wrongType, location, "must be \(types.phrase), not \(SchemaValidator.short(.string(decoded)))")
      return nil
    }
    return value
  }
}
