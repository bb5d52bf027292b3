import FoundationEssentials
import JSON

/// What a replica has to know of a database's schema (RFC 7047, 3.2): defaults, and how differences are written.
public struct DatabaseSchema: Sendable, Hashable {
  /// A column's type.
  public struct Column: Sendable, Hashable {
    public enum AtomType: String, Sendable { case integer, real, boolean, string, uuid }

    public let key: AtomType
    /// Of a map, the type of its values.
    public let value: AtomType?
    public let minimum: Int
    /// Nil: unlimited.
    public let maximum: Int?

    /// Whether a monitor writes a change as what has changed, and not as the whole new value (ovsdb-server(7), `update2`).
    var isWrittenAsDifference: Bool { maximum.map { $0 > 1 } ?? true }

    /// What a row has that was inserted without the column; servers leave such columns out.
    var defaultValue: Value {
      if minimum == 0 { return value == nil ? .empty : .map([Atom: Atom]()) }
      return value.map { .map([key.defaultAtom: $0.defaultAtom]) } ?? .atom(key.defaultAtom)
    }
  }

  public let name: String
  public let version: String
  /// Columns by table and name, without `_uuid` and `_version`, which every row has.
  public let tables: [String: [String: Column]]
}

extension DatabaseSchema.Column.AtomType {
  fileprivate var defaultAtom: Atom {
    switch self {
    case .integer: .integer(0)
    case .real: .real(0)
    case .boolean: .boolean(false)
    case .string: .string("")
    case .uuid: .uuid(UUID(uuid: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)))
    }
  }
}

extension DatabaseSchema {
  /// Reads the result of `get_schema`; nil when it is none.
  init?(json: JSONValue) {
    guard let name = json["name"]?.stringValue, let tables = json["tables"]?.objectValue else { return nil }
    self.name = name
    version = json["version"]?.stringValue ?? ""
    var result: [String: [String: Column]] = [:]
    for table in tables {
      guard let columns = table.value["columns"]?.objectValue else { return nil }
      var types: [String: Column] = [:]
      for column in columns {
        guard let type = column.value["type"].flatMap(Column.init(json:)) else { return nil }
        types[column.key] = type
      }
      result[table.key] = types
    }
    self.tables = result
  }
}

extension DatabaseSchema.Column {
  /// Reads a `<type>`: a word, or an object with key, value, min, max.
  fileprivate init?(json: JSONValue) {
    guard let object = json.objectValue else {
      guard let key = AtomType(json: json) else { return nil }
      (self.key, value, minimum, maximum) = (key, nil, 1, 1)
      return
    }
    guard let key = object["key"].flatMap(AtomType.init(json:)) else { return nil }
    self.key = key
    if let value = object["value"] {
      guard let type = AtomType(json: value) else { return nil }
      self.value = type
    } else {
      value = nil
    }
    minimum = object["min"]?.intValue ?? 1
    maximum = object["max"]?.stringValue == "unlimited" ? nil : object["max"]?.intValue ?? 1
  }
}

extension DatabaseSchema.Column.AtomType {
  /// Reads a `<base-type>`: a word, or an object that has it as its type.
  fileprivate init?(json: JSONValue) {
    guard let word = json.stringValue ?? json["type"]?.stringValue else { return nil }
    self.init(rawValue: word)
  }
}
