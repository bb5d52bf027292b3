import JSON

/// Something about a contract that works but should not be left so.
public struct Finding: Equatable, Sendable, CustomStringConvertible {
  /// Whether the contract may be kept as it is.
  public enum Severity: String, Sendable { case error, warning }

  /// Which rule is broken. Closed.
  public enum Rule: String, Sendable, CaseIterable {
    case operationID, summary, tags, successResponse, problemResponse, bodySchema, openBody, description, example
    case unusedComponent, unusedTag
  }

  /// How bad it is.
  public let severity: Severity
  /// The rule that is broken.
  public let rule: Rule
  /// The file in which it is, relative to the root file's folder.
  public let file: String
  /// Where in the file.
  public let pointer: JSONPointer
  /// What to change.
  public let message: String

  public var description: String { "\(file)#\(pointer): \(severity): \(message) [\(rule)]" }
}

extension Contract {
  /// Checks the contract for what makes an API hard to use. Loading has checked already that it can be used at all.
  public func lint() -> [Finding] {
    var lint = Lint(bundle)
    for operation in operations { lint.check(operation) }
    lint.checkTags(operations)
    lint.checkComponents(operations)
    lint.checkSchemas()
    return lint.findings.sorted { ($0.file, $0.pointer.description) < ($1.file, $1.pointer.description) }
  }
}

struct Lint {
  let bundle: Bundle
  private(set) var findings: [Finding] = []

  init(_ bundle: Bundle) { self.bundle = bundle }

  var document: JSONValue { bundle.document }

  mutating func add(
    _ rule: Finding.Rule, at pointer: JSONPointer, _ message: String, _ severity: Finding.Severity = .error
  ) {
    let place = bundle.source(of: pointer)
    let finding = Finding(
      severity: severity, rule: rule, file: place.file, pointer: place.pointer, message: message)
    // A part that is referred to from several places is reported once.
    if !findings.contains(finding) { findings.append(finding) }
  }

  // MARK: operations

  mutating func check(_ operation: Operation) {
    let pointer = operation.pointer
    if !Self.isLowerCamel(operation.id) {
      add(.operationID, at: pointer.appending("operationId"), "\(operation.id) should be in lowerCamelCase")
    }
    if operation.summary.isEmpty { add(.summary, at: pointer, "\(operation.id) has no summary") }
    if operation.tags.isEmpty { add(.tags, at: pointer, "\(operation.id) has no tags") }
    if !operation.responses.contains(where: \.isSuccess) {
      add(.successResponse, at: pointer.appending("responses"), "\(operation.id) documents no success")
    }
    if !operation.responses.contains(where: \.isProblem) {
      add(
        .problemResponse, at: pointer.appending("responses"),
        "\(operation.id) documents no error: a default or 4XX response with application/problem+json")
    }
    for parameter in operation.parameters where parameter.description.isEmpty {
      add(.description, at: parameter.pointer, "the parameter \(parameter.name) has no description", .warning)
    }
    let body = document.following(pointer.appending("requestBody"))
    for media in operation.requestBody?.content ?? [] {
      let place = body.appending("content").appending(media.range)
      if media.schema == nil {
        add(.bodySchema, at: place, "the request body of \(operation.id) has no schema")
      } else if media.isJSON {
        var seen = Set<JSONPointer>()
        checkClosed(place.appending("schema"), operation.id, &seen)
      }
    }
  }

  /// Every object that a client may send says what it may hold.
  private mutating func checkClosed(_ place: JSONPointer, _ operation: String, _ seen: inout Set<JSONPointer>) {
    let pointer = document.following(place)
    guard seen.insert(pointer).inserted, let schema = document[pointer] else { return }
    let combined = ["allOf", "anyOf", "oneOf"].contains { schema[$0] != nil }
    if schema["properties"] != nil || schema["type"] == "object", !combined {
      let additional = schema["additionalProperties"] ?? schema["unevaluatedProperties"] ?? true
      if additional == true {
        add(.openBody, at: pointer, "an object in a request body needs additionalProperties: false")
      }
    }
    for child in Self.subschemas(of: schema, at: pointer) { checkClosed(child, operation, &seen) }
  }

  private static func isLowerCamel(_ name: String) -> Bool {
    guard let first = name.utf8.first, (0x61...0x7A).contains(first) else { return false }
    return name.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x7A).contains($0 | 0x20) }
  }

  // MARK: the document

  mutating func checkTags(_ operations: [Operation]) {
    let used = Set(operations.flatMap(\.tags))
    let declared = document["tags"]?.arrayValue ?? []
    for (position, tag) in declared.enumerated() {
      guard let name = tag["name"]?.stringValue, !used.contains(name) else { continue }
      add(.unusedTag, at: ["tags", String(position)], "no operation has the tag \(name)", .warning)
    }
    let names = Set(declared.compactMap { $0["name"]?.stringValue })
    for operation in operations {
      for tag in operation.tags where !names.contains(tag) {
        add(.tags, at: operation.pointer.appending("tags"), "the tag \(tag) is not declared in the root's tags")
      }
    }
  }

  mutating func checkComponents(_ operations: [Operation]) {
    for pointer in bundle.unreferenced {
      add(.unusedComponent, at: pointer, "nothing refers to \(pointer.tokens.dropFirst().joined(separator: "/"))")
    }
    let used = Set(operations.flatMap(\.security).flatMap(\.schemes.keys))
    for name in document["components"]?["securitySchemes"]?.objectValue?.keys ?? [] where !used.contains(name) {
      add(
        .unusedComponent, at: ["components", "securitySchemes", name], "no operation uses the security scheme \(name)")
    }
  }

  /// The schemas directly inside of a schema.
  static func subschemas(of schema: JSONValue, at pointer: JSONPointer) -> [JSONPointer] {
    var result: [JSONPointer] = []
    for keyword in ["properties", "patternProperties"] {
      for name in schema[keyword]?.objectValue?.keys ?? [] {
        result.append(pointer.appending(keyword).appending(name))
      }
    }
    for keyword in ["prefixItems", "allOf", "anyOf", "oneOf"] {
      for position in (schema[keyword]?.arrayValue ?? []).indices {
        result.append(pointer.appending(keyword).appending(position))
      }
    }
    for keyword in ["items", "additionalProperties", "unevaluatedProperties", "propertyNames", "not", "contentSchema"]
    where schema[keyword]?.objectValue != nil {
      result.append(pointer.appending(keyword))
    }
    return result
  }
}

extension Response {
  fileprivate var isSuccess: Bool {
    switch status {
    case .exactly(let code): (200..<400).contains(code) || code == 101
    case .hundreds(let hundreds): hundreds == 2
    case .others: false
    }
  }

  fileprivate var isProblem: Bool {
    let isError =
      switch status {
      case .exactly(let code): (400..<500).contains(code)
      case .hundreds(let hundreds): hundreds == 4
      case .others: true
      }
    return isError && content.contains { $0.range == "application/problem+json" }
  }
}
