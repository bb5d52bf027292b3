import HTTPTypes
import JSON

/// The contract as one HTML page for people: no script, nothing fetched from elsewhere, so that a strict
/// Content-Security-Policy (`contentSecurityPolicy`) can go with it.
public enum DocsPage {
  /// What the page needs to be shown, and no more.
  public static let contentSecurityPolicy =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

  /// The page as UTF-8.
  public static func html(for contract: Contract) -> [UInt8] {
    var page = DocsWriter(contract)
    page.write()
    return Array(page.html.utf8)
  }
}

/// Writes the page from top to bottom; the parts are in the extensions.
struct DocsWriter {
  let contract: Contract
  var html = ""

  init(_ contract: Contract) { self.contract = contract }

  var document: JSONValue { contract.document }

  mutating func write() {
    let title = document["info"]?["title"]?.stringValue ?? "API"
    let version = document["info"]?["version"]?.stringValue ?? ""
    html += "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
    html += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
    html += "<title>\(escape(title)) API</title><style>\(DocsStyle.css)</style></head><body>\n"
    let groups = groups()
    navigation(title, groups)
    html += "<main><h1>\(escape(title)) <small>\(escape(version))</small></h1>"
    prose(document["info"]?["description"]?.stringValue ?? document["info"]?["summary"]?.stringValue)
    html += "<p>Machine-readable: <a href=\"/openapi.json\">/openapi.json</a></p>\n"
    for group in groups {
      html += "<section id=\"tag-\(anchor(group.tag))\"><h2>\(escape(group.tag))</h2>"
      prose(group.description)
      for operation in group.operations { self.operation(operation) }
      html += "</section>\n"
    }
    html += "<section id=\"schemas\"><h2>Schemas</h2>"
    for (name, schema) in document["components"]?["schemas"]?.objectValue ?? JSONObject() {
      html += "<details class=\"schema\" id=\"schema-\(anchor(name))\"><summary><b>\(escape(name))</b> "
      html += "<span>\(inline(schema["description"]?.stringValue ?? ""))</span></summary>"
      self.schema(schema)
      html += "</details>\n"
    }
    html += "</section></main></body></html>\n"
  }

  private struct Group {
    let tag: String
    let description: String?
    var operations: [Operation]
  }

  /// Operations by their first tag, in the order in which the document declares the tags.
  private func groups() -> [Group] {
    var groups = (document["tags"]?.arrayValue ?? []).compactMap { tag in
      tag["name"]?.stringValue.map { Group(tag: $0, description: tag["description"]?.stringValue, operations: []) }
    }
    for operation in contract.operations {
      let tag = operation.tags.first ?? "other"
      if let position = groups.firstIndex(where: { $0.tag == tag }) {
        groups[position].operations.append(operation)
      } else {
        groups.append(Group(tag: tag, description: nil, operations: [operation]))
      }
    }
    return groups.filter { !$0.operations.isEmpty }
  }

  private mutating func navigation(_ title: String, _ groups: [Group]) {
    html += "<nav><b>\(escape(title))</b>"
    for group in groups {
      html += "<a class=\"tag\" href=\"#tag-\(anchor(group.tag))\">\(escape(group.tag))</a>"
      for operation in group.operations {
        let text = operation.summary.isEmpty ? operation.id : operation.summary
        html += "<a href=\"#\(anchor(operation.id))\">\(escape(text))</a>"
      }
    }
    html += "<a class=\"tag\" href=\"#schemas\">Schemas</a></nav>\n"
  }

  // MARK: text

  func escape(_ text: String) -> String {
    var result = ""
    for character in text.unicodeScalars {
      switch character {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      case "'": result += "&#39;"
      default: result.unicodeScalars.append(character)
      }
    }
    return result
  }

  /// Text with `code` in back quotes.
  func inline(_ text: String) -> String {
    let parts = escape(text).split(separator: "`", omittingEmptySubsequences: false)
    guard parts.count % 2 == 1 else { return escape(text) }
    return parts.enumerated().map { $0 % 2 == 1 ? "<code>\($1)</code>" : String($1) }.joined()
  }

  /// Paragraphs, separated by blank lines.
  mutating func prose(_ text: String?) {
    var paragraph: [Substring] = []
    for line in ((text ?? "") + "\n").split(separator: "\n", omittingEmptySubsequences: false) {
      if !line.allSatisfy({ $0 == " " }) {
        paragraph.append(line)
      } else if !paragraph.isEmpty {
        html += "<p>\(inline(paragraph.joined(separator: "\n")))</p>"
        paragraph = []
      }
    }
  }

  /// Text that may stand in an id and in a fragment.
  func anchor(_ text: String) -> String {
    String(text.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "-" })
  }
}
