import FoundationEssentials
import JSON

extension Operation {
  var json: JSONValue {
    switch self {
    case .insert(let table, let row, let newRow):
      var object: JSONObject = ["op": "insert", "table": .string(table), "row": row.json]
      switch newRow {
      case .unnamed: break
      case .named(let name): object["uuid-name"] = .string(name)
      case .identified(let id): object["uuid"] = .string(id.wireText)
      }
      return .object(object)
    case .select(let table, let conditions, let columns):
      var object = Self.object("select", table, conditions)
      if let columns { object["columns"] = .array(columns.map(JSONValue.string)) }
      return .object(object)
    case .update(let table, let conditions, let row):
      var object = Self.object("update", table, conditions)
      object["row"] = row.json
      return .object(object)
    case .mutate(let table, let conditions, let mutations):
      var object = Self.object("mutate", table, conditions)
      object["mutations"] = .array(mutations.map(\.json))
      return .object(object)
    case .delete(let table, let conditions): return .object(Self.object("delete", table, conditions))
    case .wait(let table, let conditions, let columns, let until, let rows, let timeout):
      var object = Self.object("wait", table, conditions)
      object["columns"] = .array(columns.map(JSONValue.string))
      object["until"] = .string(until.rawValue)
      object["rows"] = .array(rows.map(\.json))
      if let timeout { object["timeout"] = .integer(timeout) }
      return .object(object)
    case .abort: return ["op": "abort"]
    case .comment(let text): return ["op": "comment", "comment": .string(text)]
    case .assert(let lock): return ["op": "assert", "lock": .string(lock)]
    }
  }

  private static func object(_ operation: String, _ table: String, _ conditions: [Condition]) -> JSONObject {
    ["op": .string(operation), "table": .string(table), "where": .array(conditions.map(\.json))]
  }

  /// Why the operation cannot be sent, or nil.
  var fault: String? {
    switch self {
    case .insert(_, let row, let newRow):
      if case .named(let name) = newRow, !Identifier.isValid(name) {
        return "the row name \"\(name)\" must be a letter or underscore followed by letters, digits, underscores"
      }
      return Self.fault(row)
    case .update(_, let conditions, let row): return Self.fault(row) ?? Self.fault(conditions)
    case .select(_, let conditions, _), .delete(_, let conditions): return Self.fault(conditions)
    case .mutate(_, let conditions, let mutations):
      let bad = mutations.first { !$0.value.isFinite }
      return bad.map { "the mutation of column \"\($0.column)\" holds a number that is not finite" }
        ?? Self.fault(conditions)
    case .wait(_, let conditions, _, _, let rows, _):
      return rows.lazy.compactMap(Self.fault).first ?? Self.fault(conditions)
    case .assert(let lock): return Identifier.isValid(lock) ? nil : Identifier.lockFault(lock)
    case .abort, .comment: return nil
    }
  }

  private static func fault(_ row: Row) -> String? {
    row.first { !$0.value.isFinite }.map { "column \"\($0.key)\" holds a number that is not finite" }
  }

  private static func fault(_ conditions: [Condition]) -> String? {
    conditions.first { !$0.value.isFinite }
      .map { "the condition on column \"\($0.column)\" holds a number that is not finite" }
  }
}

extension OperationResult {
  /// Reads the result of a successful operation; nil when it is none.
  init?(json: JSONValue) {
    guard let object = json.objectValue else { return nil }
    if let id = object["uuid"] {
      guard case .uuid(let value) = Atom(json: id) else { return nil }
      self = .inserted(value)
    } else if let count = object["count"] {
      guard let value = count.intValue else { return nil }
      self = .count(value)
    } else if let list = object["rows"] {
      guard let elements = list.arrayValue else { return nil }
      var rows: [Row] = []
      rows.reserveCapacity(elements.count)
      for element in elements {
        guard let row = Row(json: element) else { return nil }
        rows.append(row)
      }
      self = .rows(rows)
    } else {
      self = .done
    }
  }
}

/// RFC 7047, 3.1, `<id>`: what names of rows and locks are made of.
enum Identifier {
  static func isValid(_ text: String) -> Bool {
    guard let first = text.utf8.first, isLetter(first) else { return false }
    return text.utf8.allSatisfy { isLetter($0) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
  }

  static func lockFault(_ name: String) -> String {
    "the lock name \"\(name)\" must be a letter or underscore followed by letters, digits, underscores"
  }

  private static func isLetter(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"): true
    default: false
    }
  }
}
