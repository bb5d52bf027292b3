import FoundationEssentials
import JSON

/// Which rows an operation or a monitor is about (RFC 7047, 5.1, `<condition>`). Several conditions must all hold.
public struct Condition: Sendable, Hashable {
  /// How the column's value is compared.
  public enum Function: String, Sendable, CaseIterable {
    case equal = "=="
    case notEqual = "!="
    case less = "<"
    case lessOrEqual = "<="
    case greater = ">"
    case greaterOrEqual = ">="
    /// The column holds at least these elements.
    case includes
    /// The column holds none of these elements.
    case excludes
  }

  public var column: String
  public var function: Function
  public var value: Value

  public init(_ column: String, _ function: Function, _ value: Value) {
    self.column = column
    self.function = function
    self.value = value
  }

  /// The row of that identity.
  public static func row(_ id: UUID) -> Condition { Condition("_uuid", .equal, .uuid(id)) }

  var json: JSONValue { [.string(column), .string(function.rawValue), value.json] }
}

/// A change of a column that depends on what it holds (RFC 7047, 5.1, `<mutation>`).
public struct Mutation: Sendable, Hashable {
  /// What is done with the column.
  public enum Mutator: String, Sendable, CaseIterable {
    case add = "+="
    case subtract = "-="
    case multiply = "*="
    case divide = "/="
    case remainder = "%="
    /// Adds elements to a set, or entries to a map whose keys it has not: to replace an entry, delete it first.
    case insert
    /// Removes elements of a set; of a map the keys (a set) or the entries (a map).
    case delete
  }

  public var column: String
  public var mutator: Mutator
  public var value: Value

  public init(_ column: String, _ mutator: Mutator, _ value: Value) {
    self.column = column
    self.mutator = mutator
    self.value = value
  }

  var json: JSONValue { [.string(column), .string(mutator.rawValue), value.json] }
}
