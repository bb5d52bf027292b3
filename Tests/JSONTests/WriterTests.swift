import FoundationEssentials
import JSON
import Testing

@Suite("JSON writer")
struct WriterTests {
  enum Power: String, JSONWritable { case on, off }

  static func text(_ write: (inout JSONWriter) -> Void) -> String {
    var writer = JSONWriter()
    write(&writer)
    return String(decoding: writer.bytes, as: UTF8.self)
  }

  @Test("commas are set between members and elements and nowhere else")
  func structure() {
    let text = Self.text { writer in
      writer.object {
        $0.field("a", 1)
        $0.arrayField("b") { list in
          list.write("x")
          list.object { _ in }
          list.array { inner in for number in 1...3 { inner.write(number) } }
          list.writeNull()
        }
        $0.objectField("c") { $0.field("d", true) }
        $0.field("e", String?.none)
        $0.fieldIfPresent("f", String?.none)
        $0.fieldIfPresent("g", 2.5)
        $0.key("h")
        $0.raw(#"{"raw":1}"#)
        $0.field("i", Power.on)
        $0.field("j", ["z": 1, "y": 2])
      }
    }
    #expect(
      text
        == #"{"a":1,"b":["x",{},[1,2,3],null],"c":{"d":true},"e":null,"g":2.5,"h":{"raw":1},"i":"on","j":{"y":2,"z":1}}"#
    )
  }

  @Test("every ASCII character at every offset reads back as written")
  func escapes() throws {
    for scalar in (0..<0x80).compactMap({ UnicodeScalar($0) }) {
      for prefix in 0..<17 {
        let string =
          String(repeating: "é", count: prefix / 2) + String(repeating: "a", count: prefix % 2)
          + String(Character(scalar)) + "tail of the text"
        #expect(try JSONValue.parse(Self.text { $0.write(string) }) == .string(string))
      }
    }
    #expect(Self.text { $0.write("\u{1}\u{1f}\"\\\n/é😀\u{7f}") } == #""\u0001\u001f\"\\\n/é😀"# + "\u{7f}\"")
  }

  @Test(
    "integers are written in full",
    arguments: [
      (Int64.min, "-9223372036854775808"), (.max, "9223372036854775807"), (0, "0"), (-1, "-1"), (10, "10"),
      (109, "109"),
    ])
  func integers(_ value: Int64, _ expected: String) {
    #expect(Self.text { $0.write(value) } == expected)
    #expect(Self.text { $0.write(UInt64.max) } == "18446744073709551615")
  }

  @Test("doubles read back as the same number and non-numbers become null")
  func doubles() throws {
    for value in [0.1, 1e300, .leastNonzeroMagnitude, -2.5, 1.0, 1e16, 123_456_789.123, .greatestFiniteMagnitude] {
      #expect(try JSONValue.parse(Self.text { $0.write(value) }).doubleValue == value)
    }
    #expect(Self.text { $0.write([Double.nan, .infinity]) } == "[null,null]")
  }

  @Test(
    "times are written in UTC with milliseconds and read back",
    arguments: [
      (0, "1970-01-01T00:00:00.000Z"), (1_770_091_506.789, "2026-02-03T04:05:06.789Z"),
      (951_782_400, "2000-02-29T00:00:00.000Z"), (-1, "1969-12-31T23:59:59.000Z"),
      (-0.001, "1969-12-31T23:59:59.999Z"), (-62_135_596_800, "0001-01-01T00:00:00.000Z"),
      (253_402_300_799, "9999-12-31T23:59:59.000Z"), (4_107_542_400, "2100-03-01T00:00:00.000Z"),
    ])
  func times(_ seconds: Double, _ expected: String) throws {
    let date = Date(timeIntervalSince1970: seconds)
    #expect(RFC3339.string(from: date) == expected)
    let back = try #require(RFC3339.date(from: expected))
    #expect(abs(back.timeIntervalSince1970 - seconds) < 0.0005)
    #expect(RFC3339.string(from: back) == expected)
  }

  @Test("a time outside the years of the format is clamped, not garbled")
  func extremeTimes() {
    #expect(RFC3339.string(from: .distantFuture).hasPrefix("4001-01-01"))
    #expect(RFC3339.string(from: Date(timeIntervalSince1970: 1e18)) == "9999-12-31T23:59:59.999Z")
    #expect(RFC3339.string(from: Date(timeIntervalSince1970: -.infinity)) == "0000-01-01T00:00:00.000Z")
    #expect(RFC3339.string(from: Date(timeIntervalSince1970: .nan)).count == 24)
  }

  @Test(
    "RFC 3339 times are read with offsets, fractions and leap seconds",
    arguments: [
      ("1985-04-12T23:20:50.52Z", 482_196_050.52), ("1996-12-19T16:39:57-08:00", 851_042_397),
      ("1990-12-31T23:59:60Z", 662_688_000), ("1937-01-01T12:00:27.87+00:20", -1_041_337_172.13),
      ("2000-02-29t00:00:00z", 951_782_400), ("2000-01-01T00:00:00.123456789012Z", 946_684_800.123456789),
    ])
  func readsTimes(_ text: String, _ seconds: Double) throws {
    let date = try #require(RFC3339.date(from: text))
    #expect(abs(date.timeIntervalSince1970 - seconds) < 1e-5)
  }

  @Test(
    "what is no RFC 3339 time is none",
    arguments: [
      "", "2026-02-03", "2026-02-03T04:05:06", "2026-2-3T04:05:06Z", "2026-02-30T00:00:00Z", "1900-02-29T00:00:00Z",
      "2026-13-01T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:61Z",
      "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00+0100", "2026-01-01T00:00:00+24:00", "2026-01-01 00:00:00Z",
      "2026-01-01T00:00:00Zx", "٢٠٢٦-01-01T00:00:00Z",
    ])
  func refusesTimes(_ text: String) { #expect(RFC3339.date(from: text) == nil) }

  @Test("UUIDs are written in lower case")
  func uuids() throws {
    let uuid = try #require(UUID(uuidString: "F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6"))
    #expect(Self.text { $0.write(uuid) } == "\"f81d4fae-7dec-11d0-a765-00a0c91e6bf6\"")
  }
}
