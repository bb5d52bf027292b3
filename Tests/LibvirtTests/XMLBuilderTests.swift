import Foundation
import Libvirt
import Testing
import XMLBuilder

@Suite struct XMLBuilderTests {
  @Test("an element without content closes itself, and attributes without value are left out")
  func emptyElement() {
    #expect(XML.element("disk", ["type": "file", "index": nil]).string == "<disk type='file'/>")
  }

  @Test("conditions, loops and optionals make children")
  func children() {
    let xml = XML.element("a") {
      if true { XML.element("b", text: 1) }
      for name in ["c", "d"] { XML.element(name) }
      XML?.none
    }
    #expect(xml.string == "<a><b>1</b><c/><d/></a>")
  }

  @Test(
    "whatever a string holds, a reader gets it back",
    arguments: ["a<b>&'\"c", "tab\tline\nreturn\r", "]]>", "<!-- -->", "ünï🛫", "&amp;"])
  func roundTrip(value: String) throws {
    let document = try ParsedXML(XML.element("a", ["v": value]) { XML.element("t", text: value) }.string)
    #expect(document.first("/a")?.attribute("v") == value)
    #expect(document.first("/a/t")?.text(".") == value.trimmingCharacters(in: .whitespacesAndNewlines))
  }

  @Test("characters that XML forbids are replaced")
  func forbidden() throws {
    let document = try ParsedXML(XML.element("a", text: "x\u{0}\u{8}y").string)
    #expect(document.text("/a") == "x\u{FFFD}\u{FFFD}y")
  }

  @Test("a document that is not well-formed is refused as invalidXML")
  func malformed() {
    #expect(throws: LibvirtError.self) { try ParsedXML("<a><b></a>") }
  }
}
