import FoundationEssentials

/// The value of a column (RFC 7047, 5.1): a set or a map of atoms.
///
/// One atom and the set of only that atom are the same value on the wire, hence here too.
public enum Value: Sendable, Hashable {
  case set(Set<Atom>)
  case map([Atom: Atom])
}

/// The columns of a row by name.
public typealias Row = [String: Value]

extension Value {
  /// No atom: how an optional column says that it has no value.
  public static let empty = Value.set([])

  public static func atom(_ atom: Atom) -> Value { .set([atom]) }
  public static func integer(_ value: Int64) -> Value { .atom(.integer(value)) }
  public static func real(_ value: Double) -> Value { .atom(.real(value)) }
  public static func boolean(_ value: Bool) -> Value { .atom(.boolean(value)) }
  public static func string(_ value: String) -> Value { .atom(.string(value)) }
  public static func uuid(_ value: UUID) -> Value { .atom(.uuid(value)) }
  public static func namedUUID(_ name: String) -> Value { .atom(.namedUUID(name)) }
  public static func strings(_ values: some Sequence<String>) -> Value { .set(Set(values.map(Atom.string))) }
  public static func uuids(_ values: some Sequence<UUID>) -> Value { .set(Set(values.map(Atom.uuid))) }
  public static func map(_ entries: [String: String]) -> Value {
    .map([Atom: Atom](uniqueKeysWithValues: entries.map { (.string($0.key), .string($0.value)) }))
  }

  /// The one atom, nil when there is none, or more, or this is a map.
  public var atom: Atom? {
    guard case .set(let atoms) = self, atoms.count == 1 else { return nil }
    return atoms.first
  }

  public var integer: Int64? {
    switch atom {
    case .integer(let value): value
    case .real(let value): Int64(exactly: value)
    default: nil
    }
  }

  public var real: Double? {
    switch atom {
    case .integer(let value): Double(value)
    case .real(let value): value
    default: nil
    }
  }

  public var boolean: Bool? { if case .boolean(let value) = atom { value } else { nil } }
  public var string: String? { if case .string(let value) = atom { value } else { nil } }
  public var uuid: UUID? { if case .uuid(let value) = atom { value } else { nil } }

  /// The strings of a set; nil when this is a map or holds anything else.
  public var strings: Set<String>? {
    guard case .set(let atoms) = self else { return nil }
    var result = Set<String>(minimumCapacity: atoms.count)
    for atom in atoms {
      guard case .string(let value) = atom else { return nil }
      result.insert(value)
    }
    return result
  }

  /// The row identities of a set; nil when this is a map or holds anything else.
  public var uuids: Set<UUID>? {
    guard case .set(let atoms) = self else { return nil }
    var result = Set<UUID>(minimumCapacity: atoms.count)
    for atom in atoms {
      guard case .uuid(let value) = atom else { return nil }
      result.insert(value)
    }
    return result
  }

  /// The entries of a map of strings; nil when this is none.
  public var stringMap: [String: String]? {
    guard case .map(let entries) = self else { return nil }
    var result = [String: String](minimumCapacity: entries.count)
    for case (.string(let key), .string(let value)) in entries { result[key] = value }
    return result.count == entries.count ? result : nil
  }
}

extension Value: ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral, ExpressibleByBooleanLiteral,
  ExpressibleByStringLiteral
{
  public init(integerLiteral value: Int64) { self = .integer(value) }
  public init(floatLiteral value: Double) { self = .real(value) }
  public init(booleanLiteral value: Bool) { self = .boolean(value) }
  public init(stringLiteral value: String) { self = .string(value) }
}
