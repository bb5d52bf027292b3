/// A piece of XML to be written: an element, a text or several of them.
///
/// Invariants: what is written is always well-formed, whatever the strings hold. Text and attribute values are escaped;
/// characters that XML 1.0 forbids even escaped become U+FFFD. Element and attribute names are the programmer's own
/// constants and are not checked.
///
/// ```swift
/// XML.element("disk", ["type": "file", "device": "disk"]) {
///   XML.element("source", ["file": path])
///   if readOnly { XML.element("readonly") }
/// }.string
/// ```
public struct XML: Sendable, Equatable {
  private var bytes: [UInt8]

  private init(bytes: [UInt8]) { self.bytes = bytes }

  /// An element. Attributes whose value is nil are left out.
  public static func element(
    _ name: String, _ attributes: KeyValuePairs<String, String?> = [:],
    @XMLContent content: () -> [XML] = { [] }
  ) -> XML {
    var bytes: [UInt8] = Array("<\(name)".utf8)
    for case (let key, let value?) in attributes {
      bytes += " \(key)='".utf8
      append(value, to: &bytes)
      bytes.append(UInt8(ascii: "'"))
    }
    let children = content()
    if children.allSatisfy({ $0.bytes.isEmpty }) {
      bytes += "/>".utf8
    } else {
      bytes.append(UInt8(ascii: ">"))
      for child in children { bytes += child.bytes }
      bytes += "</\(name)>".utf8
    }
    return XML(bytes: bytes)
  }

  /// An element that holds text only.
  public static func element(
    _ name: String, _ attributes: KeyValuePairs<String, String?> = [:], text value: some CustomStringConvertible
  ) -> XML {
    element(name, attributes) { text(value.description) }
  }

  /// Text, escaped.
  public static func text(_ value: String) -> XML {
    var bytes: [UInt8] = []
    append(value, to: &bytes)
    return XML(bytes: bytes)
  }

  /// A piece that is XML already, such as an element read from another document. Not checked.
  public static func verbatim(_ xml: String) -> XML { XML(bytes: Array(xml.utf8)) }

  /// The document or fragment, without an XML declaration.
  public var string: String { String(decoding: bytes, as: UTF8.self) }

  private static func append(_ text: String, to bytes: inout [UInt8]) {
    for scalar in text.unicodeScalars {
      switch scalar {
      case "&": bytes += "&amp;".utf8
      case "<": bytes += "&lt;".utf8
      case ">": bytes += "&gt;".utf8
      case "'": bytes += "&#39;".utf8
      case "\"": bytes += "&quot;".utf8
      // A reader turns bare ones of these into blanks inside attributes.
      case "\t", "\n", "\r": bytes += "&#\(scalar.value);".utf8
      case "\u{0}"..."\u{1F}", "\u{FFFE}", "\u{FFFF}": bytes += "\u{FFFD}".utf8
      default: bytes += UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter
      }
    }
  }
}

/// Collects children; `if`, `if let` and `for` work, and so do arrays and optionals of `XML`.
@resultBuilder
public enum XMLContent {
  public static func buildExpression(_ expression: XML) -> [XML] { [expression] }
  public static func buildExpression(_ expression: XML?) -> [XML] { expression.map { [$0] } ?? [] }
  public static func buildExpression(_ expression: [XML]) -> [XML] { expression }
  public static func buildBlock(_ components: [XML]...) -> [XML] { components.flatMap(\.self) }
  public static func buildOptional(_ component: [XML]?) -> [XML] { component ?? [] }
  public static func buildEither(first component: [XML]) -> [XML] { component }
  public static func buildEither(second component: [XML]) -> [XML] { component }
  public static func buildArray(_ components: [[XML]]) -> [XML] { components.flatMap(\.self) }
}
