import Foundation
import JSON
import Testing

@testable import AloftCLI

@Suite struct OutputTests {
  private let machine: JSONValue = [
    "id": "vm_1", "name": "web1", "state": "running", "reason": nil, "node": nil, "vcpus": 2, "memory_mib": 2048,
    "disk_gib": 10, "labels": ["tier": "web", "on": "true"], "created_at": "2026-01-02T03:04:05.000Z",
  ]
  private let now = Date(timeIntervalSince1970: 1_767_323_045 + 300)
  private let plain = Style(isTerminal: false, environment: [:])

  @Test("a table aligns its columns, shows what is absent as a dash and leaves no trailing blanks")
  func table() {
    let other: JSONValue = ["name": "a-longer-name", "state": "stopped", "memory_mib": 512, "reason": "no node"]
    let text = Presentation.vm.table([machine, other], now: now).text(style: plain)
    #expect(
      text == """
        NAME           STATE    NODE  VCPUS  MEMORY   DISK    AGE  REASON
        web1           running  -     2      2 GiB    10 GiB  5m   -
        a-longer-name  stopped  -     -      512 MiB  -       -    no node

        """)
  }

  @Test("JSON keeps the server's order and indents by two")
  func prettyJSON() {
    let value: JSONValue = ["b": 1, "a": [true, nil], "empty": [], "none": [:], "text": "q\"\n"]
    #expect(
      PrettyJSON.text(value) == """
        {
          "b": 1,
          "a": [
            true,
            null
          ],
          "empty": [],
          "none": {},
          "text": "q\\"\\n"
        }

        """)
  }

  @Test("YAML quotes text that would be read as something else")
  func yaml() throws {
    let value: JSONValue = ["name": "web1", "on": "true", "number": "1.0", "count": 3, "ratio": 1.5, "none": nil]
    let text = try YAMLText.text(value)
    #expect(
      text == """
        name: web1
        'on': 'true'
        number: '1.0'
        count: 3
        ratio: 1.5
        none: null

        """)
  }

  @Test("details list every member, labels on one line and inner objects by their path")
  func details() {
    let value: JSONValue = ["name": "n1", "labels": ["a": "b", "c": "d"], "capacity": ["vcpus": 8, "disk_gib": 9]]
    #expect(
      Table.details(Presentation.details(value), style: plain) == """
        name               n1
        labels             a=b,c=d
        capacity.vcpus     8
        capacity.disk_gib  9

        """)
  }

  @Test("colours appear on terminals only, and never with NO_COLOR")
  func colours() {
    let table = Table(header: ["STATE"], rows: [[Table.Cell("running", tone: .good)]])
    #expect(!table.text(style: plain).contains("\u{1b}"))
    #expect(table.text(style: Style(isTerminal: true, environment: [:])).contains("\u{1b}[32mrunning\u{1b}[0m"))
    #expect(!table.text(style: Style(isTerminal: true, environment: ["NO_COLOR": "1"])).contains("\u{1b}"))
  }

  @Test("control characters of the server's data never reach the terminal")
  func controlCharacters() {
    #expect(PrintableText.sanitized("a\u{1b}[2Jb\nc\u{202e}") == "a\\u{1b}[2Jb\\u{a}c\\u{202e}")
    #expect(Table.Cell("\u{7}").text == "\\u{7}")
    #expect(PrintableText.sanitized("grün – ok") == "grün – ok")
  }

  @Test("figures are told in the units that people read")
  func figures() {
    #expect(Figures.mebibytes(512) == "512 MiB")
    #expect(Figures.mebibytes(1536) == "1536 MiB")
    #expect(Figures.mebibytes(4096) == "4 GiB")
    #expect(Figures.bytes(1023) == "1023 B")
    #expect(Figures.bytes(1536) == "1.5 KiB")
    #expect(Figures.bytes(3 << 30) == "3 GiB")
    #expect(Figures.span(.seconds(125)) == "2m05s")
    #expect(Figures.age(from: now, to: now + 90_000) == "25h")
  }

  @Test("a bar is as full as what is done")
  func bar() {
    #expect(TransferMeter.bar(0) == "[....................]")
    #expect(TransferMeter.bar(50) == "[##########..........]")
    #expect(TransferMeter.bar(120) == "[####################]")
  }
}
