import JSON

/// Reads the keywords of one schema with their types checked, and remembers which were read.
struct KeywordReader {
  let pointer: JSONPointer
  private let object: JSONObject
  private let bundle: Bundle
  private var read: Set<String> = []

  init(_ object: JSONObject, _ pointer: JSONPointer, _ bundle: Bundle) {
    self.object = object
    self.pointer = pointer
    self.bundle = bundle
  }

  mutating func value(_ name: String) -> JSONValue? {
    read.insert(name)
    return object[name]
  }

  mutating func string(_ name: String) throws(ContractError) -> String? {
    try typed(name, "a string") { $0.stringValue }
  }

  mutating func bool(_ name: String) throws(ContractError) -> Bool? {
    try typed(name, "true or false") { $0.boolValue }
  }

  mutating func array(_ name: String) throws(ContractError) -> [JSONValue]? {
    try typed(name, "a list") { $0.arrayValue }
  }

  mutating func object(_ name: String) throws(ContractError) -> JSONObject? {
    try typed(name, "a mapping") { $0.objectValue }
  }

  mutating func count(_ name: String) throws(ContractError) -> Int? {
    try typed(name, "a whole number from 0") { value in value.intValue.flatMap { $0 >= 0 ? $0 : nil } }
  }

  mutating func number(_ name: String) throws(ContractError) -> JSONValue? {
    try typed(name, "a number") { $0.doubleValue == nil ? nil : $0 }
  }

  private mutating func typed<T>(
    _ name: String, _ expected: String, _ convert: (JSONValue) -> T?
  ) throws(ContractError) -> T? {
    guard let value = value(name) else { return nil }
    guard let result = convert(value) else {
      throw bundle.failure(at: pointer.appending(name), "must be \(expected)")
    }
    return result
  }

  mutating func types() throws(ContractError) -> JSONTypes? {
    guard let value = value("type") else { return nil }
    var types: JSONTypes = []
    for name in value.arrayValue ?? [value] {
      guard let type = name.stringValue.flatMap(JSONTypes.init(named:)) else {
        throw bundle.failure(
          at: pointer.appending("type"),
          "must be one of null, boolean, integer, number, string, array, object, or a list of them (quote \"null\")")
      }
      types.insert(type)
    }
    return types
  }

  mutating func stringRules() throws(ContractError) -> StringRules? {
    var rules = StringRules()
    rules.minimumLength = try count("minLength")
    rules.maximumLength = try count("maxLength")
    if let source = try string("pattern") { rules.pattern = try pattern(source, at: pointer.appending("pattern")) }
    if let name = try string("format") {
      rules.format = StringFormat(rawValue: name)
      guard rules.format != nil || StringFormat.unchecked.contains(name) else {
        let known = StringFormat.allCases.map(\.rawValue) + StringFormat.unchecked.sorted()
        throw bundle.failure(
          at: pointer.appending("format"), "unknown format \(name); known are \(known.joined(separator: ", "))")
      }
    }
    let isEmpty =
      rules.minimumLength == nil && rules.maximumLength == nil && rules.pattern == nil
      && rules.format == nil
    return isEmpty ? nil : rules
  }

  func pattern(_ source: String, at place: JSONPointer) throws(ContractError) -> Pattern {
    do throws(PatternError) {
      return try Pattern(source)
    } catch {
      throw bundle.failure(at: place, "the pattern \(source) is not usable: \(error)")
    }
  }

  mutating func numberRules(_ types: JSONTypes?) throws(ContractError) -> NumberRules? {
    var rules = NumberRules()
    rules.minimum = try number("minimum")
    rules.maximum = try number("maximum")
    rules.exclusiveMinimum = try number("exclusiveMinimum")
    rules.exclusiveMaximum = try number("exclusiveMaximum")
    rules.multipleOf = try number("multipleOf")
    if let divisor = rules.multipleOf?.doubleValue, divisor <= 0 {
      throw bundle.failure(at: pointer.appending("multipleOf"), "must be above 0")
    }
    if object["format"] == "int32" {
      rules.minimum = rules.minimum ?? .integer(Int64(Int32.min))
      rules.maximum = rules.maximum ?? .integer(Int64(Int32.max))
    }
    // What our programs hold whole numbers in.
    if let types, types.contains(.integer), !types.contains(.number) {
      rules.minimum = rules.minimum ?? .integer(.min)
      rules.maximum = rules.maximum ?? .integer(.max)
    }
    let isEmpty =
      rules.minimum == nil && rules.maximum == nil && rules.exclusiveMinimum == nil
      && rules.exclusiveMaximum == nil && rules.multipleOf == nil
    return isEmpty ? nil : rules
  }

  func refuseUnknown(_ annotations: Set<String>) throws(ContractError) {
    for key in object.keys where !read.contains(key) && !annotations.contains(key) && !key.hasPrefix("x-") {
      throw bundle.failure(at: pointer.appending(key), "the schema keyword \(key) is not supported")
    }
  }
}
