import JSON

extension DocsWriter {
  /// A schema's members as a table, or its values.
  mutating func schema(_ schema: JSONValue) {
    let resolved = target(of: schema)
    if let properties = resolved["properties"]?.objectValue, !properties.isEmpty {
      let required = resolved["required"]?.arrayValue?.compactMap(\.stringValue) ?? []
      html += "<table><tr><th>Member</th><th>Type</th><th>What</th></tr>"
      for (name, member) in properties {
        html += "<tr><td><code>\(escape(name))</code>\(required.contains(name) ? " <b>required</b>" : "")</td>"
        html += "<td>\(type(of: member))</td><td>\(about(member))"
        // Objects written in place have no entry of their own to link to.
        if member["$ref"] == nil, member["properties"] != nil { self.schema(member) }
        if let items = member["items"], items["$ref"] == nil, items["properties"] != nil { self.schema(items) }
        html += "</td></tr>"
      }
      html += "</table>"
    } else if schema["$ref"] == nil {
      html += "<p>\(type(of: schema))\(limits(of: schema))</p>"
    }
    for keyword in ["allOf", "anyOf", "oneOf"] {
      for branch in resolved[keyword]?.arrayValue ?? [] where branch["$ref"] == nil { self.schema(branch) }
    }
  }

  private func about(_ schema: JSONValue) -> String {
    let text = schema["description"]?.stringValue ?? target(of: schema)["description"]?.stringValue ?? ""
    return inline(text) + (schema["readOnly"] == true ? " <em>read only</em>" : "") + limits(of: schema)
  }

  private func target(of schema: JSONValue) -> JSONValue {
    guard let ref = schema["$ref"]?.stringValue, let pointer = JSONPointer(parsing: ref.dropFirst()) else {
      return schema
    }
    return document[document.following(pointer)] ?? schema
  }

  /// The type in words, with links to named schemas.
  func type(of schema: JSONValue) -> String {
    if let ref = schema["$ref"]?.stringValue, let name = JSONPointer(parsing: ref.dropFirst())?.tokens.last {
      return "<a href=\"#schema-\(anchor(name))\">\(escape(name))</a>"
    }
    if let items = schema["items"] { return "array of " + type(of: items) }
    for (keyword, word) in [("oneOf", " or "), ("anyOf", " or "), ("allOf", " and ")] {
      if let branches = schema[keyword]?.arrayValue { return branches.map(type(of:)).joined(separator: word) }
    }
    let names = schema["type"]?.arrayValue?.compactMap(\.stringValue) ?? [schema["type"]?.stringValue ?? "any"]
    if names == ["object"], let values = schema["additionalProperties"], values.objectValue != nil {
      return "map of " + type(of: values)
    }
    let format = schema["format"]?.stringValue.map { " (\(escape($0)))" } ?? ""
    return escape(names.joined(separator: " or ")) + format
  }

  /// What values are allowed, in words.
  func limits(of schema: JSONValue) -> String {
    var facts: [String] = []
    if let values = schema["enum"]?.arrayValue { facts.append("one of " + values.map(code).joined(separator: " ")) }
    if let value = schema["const"] { facts.append("always " + code(value)) }
    if let value = schema["default"] { facts.append("default " + code(value)) }
    let words = [
      ("minimum", "at least"), ("maximum", "at most"), ("exclusiveMinimum", "above"), ("exclusiveMaximum", "below"),
      ("multipleOf", "a multiple of"), ("minLength", "characters: at least"), ("maxLength", "characters: at most"),
      ("minItems", "items: at least"), ("maxItems", "items: at most"), ("minProperties", "members: at least"),
      ("maxProperties", "members: at most"), ("pattern", "matches"),
    ]
    for (keyword, phrase) in words {
      if let value = schema[keyword] { facts.append(phrase + " " + code(value)) }
    }
    return facts.isEmpty ? "" : " <span class=\"limits\">\(facts.joined(separator: "; "))</span>"
  }

  private func code(_ value: JSONValue) -> String {
    "<code>\(escape(value.stringValue ?? value.description))</code>"
  }

  /// A value that shows what the schema means, made of its examples, defaults and first choices.
  func sample(of schema: JSONValue, _ depth: Int) -> JSONValue {
    if let value = schema["example"] ?? schema["examples"]?[0] ?? schema["const"] ?? schema["default"]
      ?? schema["enum"]?[0]
    {
      return value
    }
    if depth > 8 { return .null }
    if schema["$ref"] != nil { return sample(of: target(of: schema), depth + 1) }
    if let branch = (schema["oneOf"] ?? schema["anyOf"])?[0] { return sample(of: branch, depth + 1) }
    var object = JSONObject()
    for branch in schema["allOf"]?.arrayValue ?? [] {
      for (name, value) in sample(of: branch, depth + 1).objectValue ?? JSONObject() { object[name] = value }
    }
    for (name, member) in schema["properties"]?.objectValue ?? JSONObject() {
      object[name] = sample(of: member, depth + 1)
    }
    let type = schema["type"]?.stringValue ?? schema["type"]?[0]?.stringValue
    switch type {
    case "string":
      switch schema["format"]?.stringValue.flatMap(StringFormat.init(rawValue:)) {
      case .dateTime: return "2026-02-03T04:05:06.789Z"
      case .ipv4: return "192.0.2.10"
      case .cidr: return "192.0.2.0/24"
      default: return "string"
      }
    case "integer", "number": return schema["minimum"] ?? 1
    case "boolean": return true
    case "array": return schema["items"].map { [sample(of: $0, depth + 1)] } ?? []
    case "null": return .null
    default: return .object(object)
    }
  }
}
