import JSON

extension SchemaValidator {
  mutating func validate(_ elements: [JSONValue], _ rules: ArrayRules?) {
    guard let rules else { return }
    if let minimum = rules.minimumCount, elements.count < minimum {
      add(.tooFew, "must have at least \(minimum) items, not \(elements.count)")
    }
    if let maximum = rules.maximumCount, elements.count > maximum {
      add(.tooMany, "must have at most \(maximum) items, not \(elements.count)")
      return
    }
    for (position, element) in elements.enumerated() {
      guard !isFull else { return }
      if position < rules.prefixItems.count {
        validate(element, rules.prefixItems[position], at: String(position))
      } else if let items = rules.items {
        validate(element, items, at: String(position))
      }
    }
    if rules.unique {
      var seen = Set<JSONValue>(minimumCapacity: elements.count)
      for (position, element) in elements.enumerated() where !seen.insert(element).inserted {
        add(.duplicate, "is given twice", member: String(position))
      }
    }
  }

  mutating func validate(_ object: JSONObject, _ rules: ObjectRules?) {
    guard let rules else { return }
    for name in rules.required where !object.contains(name) && isExpected(name, rules) {
      add(.missing, "is required", member: name)
    }
    if let minimum = rules.minimumCount, object.count < minimum {
      add(.tooFew, minimum == 1 ? "must not be empty" : "must have at least \(minimum) members, not \(object.count)")
    }
    if let maximum = rules.maximumCount, object.count > maximum {
      add(.tooMany, "must have at most \(maximum) members, not \(object.count)")
      return
    }
    for (name, value) in object {
      guard !isFull else { return }
      member(name, value, rules)
    }
  }

  /// Whether a required member must be there in this direction.
  private func isExpected(_ name: String, _ rules: ObjectRules) -> Bool {
    guard let id = rules.properties[name] else { return true }
    return switch direction {
    case .request: !table[id].readOnly
    case .response: !table[id].writeOnly
    case .example: !table[id].readOnly && !table[id].writeOnly
    }
  }

  private mutating func member(_ name: String, _ value: JSONValue, _ rules: ObjectRules) {
    if let names = rules.propertyNames { validate(.string(name), names, at: name) }
    var known = false
    if let id = rules.properties[name] {
      known = true
      if direction == .request, table[id].readOnly {
        add(.readOnly, "is set by the server only; leave it out", member: name)
        return
      }
      if direction == .response, table[id].writeOnly {
        add(.writeOnly, "must never be in a response", member: name)
        return
      }
      validate(value, id, at: name)
    }
    for (pattern, id) in rules.patterns where pattern.matches(name) {
      known = true
      validate(value, id, at: name)
    }
    if known || rules.evaluatedElsewhere.contains(name) { return }
    switch rules.additional {
    case .refused: add(.unknownField, Self.unknown(rules, name), member: name)
    case .schema(let id): validate(value, id, at: name)
    case .allowed: break
    }
  }

  private static func unknown(_ rules: ObjectRules, _ name: String) -> String {
    let names = rules.names + rules.evaluatedElsewhere.subtracting(rules.names).sorted()
    if let closest = Spelling.closest(to: name, among: names) {
      return "is not known here; did you mean \(closest)?"
    }
    if names.isEmpty { return "is not known here; no members are allowed" }
    let shown = names.prefix(20).joined(separator: ", ")
    return "is not known here; known are \(shown)\(names.count > 20 ? ", …" : "")"
  }
}
