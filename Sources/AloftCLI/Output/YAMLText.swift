import JSON
import Yams

/// A JSON value as a YAML document. Text that YAML would read as something else (`true`, `1.0`, `null`) is quoted.
enum YAMLText {
  static func text(_ value: JSONValue, explicitStart: Bool = false) throws(CommandFailure) -> String {
    do {
      return try Yams.serialize(node: node(value), width: -1, allowUnicode: true, explicitStart: explicitStart)
    } catch {
      throw CommandFailure(.serverFault, "the answer cannot be written as YAML: \(error)", hint: "Use `-o json`.")
    }
  }

  private static func node(_ value: JSONValue) -> Node {
    switch value {
    case .null: Node("null", Tag(.null))
    case .bool(let bool): Node(bool ? "true" : "false", Tag(.bool))
    case .integer(let integer): Node(String(integer), Tag(.int))
    case .number: Node(value.description, Tag(.float))
    case .string(let string): .scalar(string.represented())
    case .array(let elements): Node(elements.map(node), Tag(.seq))
    case .object(let members): Node(members.map { (.scalar($0.key.represented()), node($0.value)) }, Tag(.map))
    }
  }
}
