import JSON
import Yams

/// YAML text to a JSON value, without YAML 1.1's traps.
///
/// Only what JSON itself would write plainly is anything but a string: `true`, `false`, `null` (or `~`, or nothing) and
/// JSON's numbers. `no`, `on`, `2026-01-01`, `1_000`, `0x10`, `007` stay text. Where an OpenAPI document says that text is
/// meant (`version`, `description`; `enum`, `default`, `example` of a string schema), numbers stay text as well.
struct YAMLDocument {
  let file: String

  static func parse(_ text: String, file: String) throws(ContractError) -> JSONValue {
    let root: Node?
    do {
      root = try Yams.compose(yaml: text, .basic)
    } catch {
      throw ContractError(file: file, problem: "not YAML: \(error)")
    }
    guard let root else { throw ContractError(file: file, problem: "the file is empty") }
    return try YAMLDocument(file: file).value(root, at: [], .document)
  }

  /// What the surrounding document says about a value.
  private enum Meaning {
    case document
    /// The value of a keyword that is text by OpenAPI's own rules, or of a string schema. `nullable` keeps `null`.
    case text(nullable: Bool)
    /// A user's value: keywords mean nothing in it.
    case data
  }

  private static let textKeywords: Set<String> = [
    "openapi", "title", "description", "summary", "version", "operationId", "pattern", "format", "$ref", "name", "in",
    "url",
  ]
  private static let dataKeywords: Set<String> = ["default", "const", "example", "enum", "examples", "value"]

  private func value(_ node: Node, at path: [String], _ meaning: Meaning) throws(ContractError) -> JSONValue {
    switch node {
    case .scalar(let scalar): return plain(scalar, meaning)
    case .sequence(let sequence):
      var elements: [JSONValue] = []
      for (position, element) in sequence.enumerated() {
        elements.append(try value(element, at: path + [String(position)], meaning))
      }
      return .array(elements)
    case .mapping(let mapping): return try object(mapping, at: path, meaning)
    case .alias: throw failure(path, "an alias leads nowhere")
    }
  }

  private func object(
    _ mapping: Node.Mapping, at path: [String], _ meaning: Meaning
  ) throws(ContractError) -> JSONValue {
    var object = JSONObject(minimumCapacity: mapping.count)
    let stringSchema = Self.stringSchema(mapping)
    for (keyNode, child) in mapping {
      guard let key = keyNode.scalar?.string else { throw failure(path, "a key must be plain text") }
      if key == "<<" { throw failure(path, "merge keys (<<) are not supported; use $ref") }
      guard object[key] == nil else { throw failure(path + [key], "the key is given twice") }
      object[key] = try value(child, at: path + [key], Self.meaning(of: key, in: meaning, stringSchema))
    }
    return .object(object)
  }

  private static func meaning(of key: String, in outer: Meaning, _ stringSchema: Meaning?) -> Meaning {
    switch outer {
    case .data: .data
    case .document, .text:
      if dataKeywords.contains(key) {
        stringSchema ?? .data
      } else if textKeywords.contains(key) {
        .text(nullable: false)
      } else {
        .document
      }
    }
  }

  /// How a mapping that is a schema of strings reads its values; nil when it is no such schema.
  private static func stringSchema(_ mapping: Node.Mapping) -> Meaning? {
    guard let type = mapping["type"] else { return nil }
    let names = type.scalar.map { [$0.string] } ?? type.sequence?.compactMap { $0.scalar?.string } ?? []
    guard names.contains("string"), names.allSatisfy({ $0 == "string" || $0 == "null" }) else { return nil }
    return .text(nullable: names.contains("null"))
  }

  private func plain(_ scalar: Node.Scalar, _ meaning: Meaning) -> JSONValue {
    let text = scalar.string
    guard scalar.style == .plain else { return .string(text) }
    switch meaning {
    case .text(nullable: false): return .string(text)
    case .text(nullable: true): return Self.isNull(text) ? .null : .string(text)
    case .document, .data: break
    }
    if Self.isNull(text) { return .null }
    if text == "true" { return .bool(true) }
    if text == "false" { return .bool(false) }
    if let first = text.utf8.first, first == UInt8(ascii: "-") || (0x30...0x39).contains(first),
      let number = try? JSONValue.parse(text)
    {
      return number
    }
    return .string(text)
  }

  private static func isNull(_ text: String) -> Bool { text.isEmpty || text == "~" || text == "null" }

  private func failure(_ path: [String], _ problem: String) -> ContractError {
    ContractError(file: file, pointer: JSONPointer(path), problem: problem)
  }
}
