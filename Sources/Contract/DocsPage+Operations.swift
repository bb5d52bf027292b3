import HTTPTypes
import JSON

extension DocsWriter {
  mutating func operation(_ operation: Operation) {
    let method = operation.method.rawValue
    html += "<details class=\"operation\" id=\"\(anchor(operation.id))\"><summary>"
    html += "<span class=\"method \(method.lowercased())\">\(method)</span> <code>\(escape(operation.path))</code> "
    html += "<span>\(inline(operation.summary))</span>"
    if operation.deprecated { html += " <em>deprecated</em>" }
    html += "</summary>"
    prose(operation.description)
    html += "<p class=\"facts\"><code>\(escape(operation.id))</code>"
    if operation.security.isEmpty { html += " · needs no token" }
    for (name, value) in operation.extensions.sorted(by: { $0.key < $1.key }) {
      html += " · \(escape(name)): <code>\(escape(value.stringValue ?? value.description))</code>"
    }
    html += "</p>"
    parameters(operation)
    requestBody(operation)
    responses(operation)
    html += "</details>\n"
  }

  private mutating func parameters(_ operation: Operation) {
    if operation.parameters.isEmpty { return }
    html += "<h4>Parameters</h4><table><tr><th>Name</th><th>In</th><th>Type</th><th>What</th></tr>"
    for parameter in operation.parameters {
      let schema = document[parameter.pointer.appending("schema")] ?? .null
      html += "<tr><td><code>\(escape(parameter.name))</code>\(parameter.required ? " <b>required</b>" : "")</td>"
      html += "<td>\(parameter.location.rawValue)</td><td>\(type(of: schema))</td>"
      html += "<td>\(inline(parameter.description))\(limits(of: schema))</td></tr>"
    }
    html += "</table>"
  }

  private mutating func requestBody(_ operation: Operation) {
    let pointer = document.following(operation.pointer.appending("requestBody"))
    guard let body = document[pointer] else { return }
    html += "<h4>Request body\(operation.requestBody?.required == true ? " <b>required</b>" : "")</h4>"
    prose(body["description"]?.stringValue)
    content(body["content"], showMembers: true)
  }

  private mutating func responses(_ operation: Operation) {
    html += "<h4>Responses</h4>"
    for key in document[operation.pointer.appending("responses")]?.objectValue?.keys ?? [] {
      let pointer = document.following(operation.pointer.appending("responses").appending(key))
      guard let response = document[pointer] else { continue }
      html += "<p><span class=\"status\">\(escape(key))</span> "
      html += "\(inline(response["description"]?.stringValue ?? ""))"
      let headers = response["headers"]?.objectValue?.keys ?? []
      if !headers.isEmpty {
        html += " <small>headers: \(headers.map { "<code>\(escape($0))</code>" }.joined(separator: ", "))</small>"
      }
      html += "</p>"
      content(response["content"], showMembers: false)
    }
  }

  private mutating func content(_ content: JSONValue?, showMembers: Bool) {
    for (range, media) in content?.objectValue ?? JSONObject() {
      html += "<div class=\"content\"><code>\(escape(range))</code> "
      guard let schema = media["schema"] else {
        html += "</div>"
        continue
      }
      html += type(of: schema)
      if showMembers { self.schema(schema) }
      if MediaType.isJSON(range) {
        let sample = media["example"] ?? media["examples"]?.objectValue?.values.first?["value"] ?? sample(of: schema, 0)
        html += "<details><summary>Example</summary><pre>\(escape(Self.pretty(sample, "")))</pre></details>"
      }
      html += "</div>"
    }
  }

  /// JSON with line breaks and indentation.
  static func pretty(_ value: JSONValue, _ indent: String) -> String {
    switch value {
    case .array(let elements) where !elements.isEmpty:
      let lines = elements.map { indent + "  " + pretty($0, indent + "  ") }
      return "[\n" + lines.joined(separator: ",\n") + "\n\(indent)]"
    case .object(let object) where !object.isEmpty:
      let lines = object.map { name, member in
        indent + "  " + JSONValue.string(name).description + ": " + pretty(member, indent + "  ")
      }
      return "{\n" + lines.joined(separator: ",\n") + "\n\(indent)}"
    default: return value.description
    }
  }
}
