import Foundation
import FoundationXML

/// An element of an XML answer, as far as S3 uses XML: names without prefixes, text, children.
struct S3Element {
  let name: String
  var text = ""
  var children: [S3Element] = []

  func first(_ name: String) -> S3Element? { children.first { $0.name == name } }
  func all(_ name: String) -> [S3Element] { children.filter { $0.name == name } }
  func text(_ name: String) -> String? { first(name)?.text }

  /// Nil for what is not well-formed, or nests deeper than S3 does. External entities are never loaded.
  static func parse(_ bytes: [UInt8]) -> S3Element? {
    let builder = Builder()
    let parser = XMLParser(data: Data(bytes))
    parser.shouldResolveExternalEntities = false
    parser.delegate = builder
    guard parser.parse(), parser.parserError == nil else { return nil }
    return builder.root
  }

  private final class Builder: NSObject, XMLParserDelegate {
    private var open: [S3Element] = []
    private(set) var root: S3Element?

    func parser(
      _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
      attributes: [String: String]
    ) {
      guard open.count < 16 else { return parser.abortParsing() }
      open.append(S3Element(name: String(name.split(separator: ":").last ?? "")))
    }

    func parser(_ parser: XMLParser, foundCharacters text: String) {
      guard !open.isEmpty else { return }
      open[open.count - 1].text += text
    }

    func parser(_ parser: XMLParser, didEndElement name: String, namespaceURI: String?, qualifiedName: String?) {
      guard let element = open.popLast() else { return }
      if open.isEmpty { root = element } else { open[open.count - 1].children.append(element) }
    }
  }
}
