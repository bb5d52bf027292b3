import JSON

extension SchemaValidator {
  mutating func validate(_ text: String, _ rules: StringRules?) {
    guard let rules else { return }
    let length = text.unicodeScalars.count
    if let minimum = rules.minimumLength, length < minimum {
      add(.tooShort, minimum == 1 ? "must not be empty" : "must have at least \(minimum) characters, not \(length)")
      return
    }
    if let maximum = rules.maximumLength, length > maximum {
      add(.tooLong, "must have at most \(maximum) characters, not \(length)")
      return
    }
    if let format = rules.format, !format.matches(text) {
      add(.badFormat, "must be \(format.example)")
      return
    }
    if let pattern = rules.pattern, !pattern.matches(text) {
      add(.patternMismatch, "must match the pattern \(pattern.source)")
    }
  }

  mutating func validate(number value: JSONValue, _ rules: NumberRules) {
    if let minimum = rules.minimum, Self.less(value, minimum) {
      add(.outOfRange, "must be at least \(minimum), not \(value)")
    } else if let maximum = rules.maximum, Self.less(maximum, value) {
      add(.outOfRange, "must be at most \(maximum), not \(value)")
    } else if let bound = rules.exclusiveMinimum, !Self.less(bound, value) {
      add(.outOfRange, "must be above \(bound), not \(value)")
    } else if let bound = rules.exclusiveMaximum, !Self.less(value, bound) {
      add(.outOfRange, "must be below \(bound), not \(value)")
    }
    if let divisor = rules.multipleOf, !Self.isMultiple(value, of: divisor) {
      add(.outOfRange, "must be a multiple of \(divisor), not \(value)")
    }
  }

  private static func less(_ a: JSONValue, _ b: JSONValue) -> Bool {
    if case .integer(let x) = a, case .integer(let y) = b { return x < y }
    guard let x = a.doubleValue, let y = b.doubleValue else { return false }
    // Int64.max rounds up to 2^63 as a double, so a double there is beyond it.
    if case .integer = a, case .number = b, y >= 0x1p63 { return true }
    return x < y
  }

  private static func isMultiple(_ value: JSONValue, of divisor: JSONValue) -> Bool {
    if let x = value.integerValue, let y = divisor.integerValue { return x % y == 0 }
    guard let x = value.doubleValue, let y = divisor.doubleValue else { return true }
    let quotient = x / y
    // 0.3 is a multiple of 0.1 to people, if not to binary fractions.
    return abs(quotient - quotient.rounded()) <= 1e-9 * max(1, abs(quotient))
  }
}
