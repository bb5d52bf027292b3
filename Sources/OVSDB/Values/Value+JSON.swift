import FoundationEssentials
import JSON

extension Atom {
  /// The atom as RFC 7047, 5.1 writes it.
  public var json: JSONValue {
    switch self {
    case .integer(let value): .integer(value)
    case .real(let value): .number(value)
    case .boolean(let value): .bool(value)
    case .string(let value): .string(value)
    case .uuid(let value): ["uuid", .string(value.wireText)]
    case .namedUUID(let name): ["named-uuid", .string(name)]
    }
  }

  /// Reads an atom; nil when the JSON is none.
  public init?(json: JSONValue) {
    switch json {
    case .integer(let value): self = .integer(value)
    case .number(let value): self = .real(value)
    case .bool(let value): self = .boolean(value)
    case .string(let value): self = .string(value)
    case .array(let elements):
      guard elements.count == 2, let text = elements[1].stringValue else { return nil }
      switch elements[0].stringValue {
      case "uuid":
        guard let value = UUID(uuidString: text) else { return nil }
        self = .uuid(value)
      case "named-uuid": self = .namedUUID(text)
      default: return nil
      }
    case .null, .object: return nil
    }
  }
}

extension Value {
  /// The value as RFC 7047, 5.1 writes it; a set of one as its atom.
  public var json: JSONValue {
    switch self {
    case .set(let atoms):
      if let atom { return atom.json }
      return ["set", .array(atoms.map(\.json))]
    case .map(let entries): return ["map", .array(entries.map { [$0.key.json, $0.value.json] })]
    }
  }

  /// Reads a value; nil when the JSON is none.
  public init?(json: JSONValue) {
    if let atom = Atom(json: json) {
      self = .atom(atom)
      return
    }
    guard case .array(let pair) = json, pair.count == 2, let elements = pair[1].arrayValue else { return nil }
    switch pair[0].stringValue {
    case "set":
      var atoms = Set<Atom>(minimumCapacity: elements.count)
      for element in elements {
        guard let atom = Atom(json: element) else { return nil }
        atoms.insert(atom)
      }
      self = .set(atoms)
    case "map":
      var entries = [Atom: Atom](minimumCapacity: elements.count)
      for element in elements {
        guard let entry = element.arrayValue, entry.count == 2, let key = Atom(json: entry[0]),
          let value = Atom(json: entry[1])
        else { return nil }
        entries[key] = value
      }
      self = .map(entries)
    default: return nil
    }
  }

  /// Whether JSON can say it: NaN and infinities cannot be written.
  var isFinite: Bool {
    func finite(_ atom: Atom) -> Bool { if case .real(let value) = atom { value.isFinite } else { true } }
    return switch self {
    case .set(let atoms): atoms.allSatisfy(finite)
    case .map(let entries): entries.allSatisfy { finite($0.key) && finite($0.value) }
    }
  }
}

extension [String: Value] {
  var json: JSONValue {
    var object = JSONObject(minimumCapacity: count)
    for (column, value) in self { object[column] = value.json }
    return .object(object)
  }

  init?(json: JSONValue) {
    guard let object = json.objectValue else { return nil }
    self.init(minimumCapacity: object.count)
    for member in object {
      guard let value = Value(json: member.value) else { return nil }
      self[member.key] = value
    }
  }
}

extension UUID {
  /// The server knows lower case only.
  var wireText: String { uuidString.lowercased() }
}
