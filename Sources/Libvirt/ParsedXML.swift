import Foundation
import FoundationXML

/// An XML document or element for reading, by XPath. Not Sendable: parse, take what is needed, let it go.
public struct ParsedXML {
  private let node: XMLNode

  /// Throws `invalidXML`. External entities are never loaded.
  public init(_ text: String) throws(LibvirtError) {
    // FoundationXML repairs what is broken and tells only stderr; the event parser refuses it.
    let parser = XMLParser(data: Data(text.utf8))
    guard parser.parse(), parser.parserError == nil else {
      throw LibvirtError(.invalidXML, message: "not well-formed XML")
    }
    do {
      node = try XMLDocument(xmlString: text, options: [.nodeLoadExternalEntitiesNever])
    } catch {
      throw LibvirtError(.invalidXML, message: "not well-formed XML: \(error)")
    }
  }

  private init(node: XMLNode) { self.node = node }

  /// All nodes that match, in document order.
  public func all(_ path: String) -> [ParsedXML] {
    ((try? node.nodes(forXPath: path)) ?? []).map { ParsedXML(node: $0) }
  }

  /// The first node that matches.
  public func first(_ path: String) -> ParsedXML? { all(path).first }

  /// The text of the first element or attribute that matches, without blanks around it: `text("cpu/@mode")`.
  public func text(_ path: String) -> String? {
    first(path)?.node.stringValue?.trimmingCharacters(in: .whitespacesAndNewlines)
  }

  /// ``text(_:)`` as a number.
  public func integer(_ path: String) -> Int? { text(path).flatMap { Int($0) } }

  /// An attribute of this element.
  public func attribute(_ name: String) -> String? { (node as? XMLElement)?.attribute(forName: name)?.stringValue }

  /// Whether something matches.
  public func has(_ path: String) -> Bool { first(path) != nil }

  /// This node as XML, to carry an element over to another document.
  public var xml: String { node.xmlString }
}
