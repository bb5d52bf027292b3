import JSON

/// JSON with an indent of two spaces. Members keep the order in which the server sent them, so equal answers give
/// equal text.
enum PrettyJSON {
  static func text(_ value: JSONValue) -> String {
    var text = ""
    append(value, indent: "", to: &text)
    return text + "\n"
  }

  private static func append(_ value: JSONValue, indent: String, to text: inout String) {
    let inner = indent + "  "
    switch value {
    case .array(let elements) where !elements.isEmpty:
      text += "[\n"
      for (index, element) in elements.enumerated() {
        text += index == 0 ? inner : ",\n" + inner
        append(element, indent: inner, to: &text)
      }
      text += "\n" + indent + "]"
    case .object(let members) where !members.isEmpty:
      text += "{\n"
      for (index, member) in members.enumerated() {
        text += index == 0 ? inner : ",\n" + inner
        text += JSONValue.string(member.key).description + ": "
        append(member.value, indent: inner, to: &text)
      }
      text += "\n" + indent + "}"
    default: text += value.description
    }
  }
}
