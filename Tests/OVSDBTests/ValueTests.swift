import Foundation
import JSON
import Testing

@testable import OVSDB

@Suite("Values")
struct ValueTests {
  @Test("values are written and read as RFC 7047 says")
  func coding() throws {
    let id = UUID()
    let text = id.uuidString.lowercased()
    let cases: [(Value, String)] = [
      (1, "1"), (1.5, "1.5"), (true, "true"), ("a", #""a""#), (.empty, #"["set",[]]"#),
      (.uuid(id), #"["uuid","\#(text)"]"#),
      (.namedUUID("x"), #"["named-uuid","x"]"#), (.map(["k": "v"]), #"["map",[["k","v"]]]"#),
    ]
    for (value, json) in cases {
      #expect(value.json.description == json)
      #expect(Value(json: try JSONValue.parse(json)) == value)
    }
    let pair = Value.strings(["a", "b"])
    #expect(Value(json: pair.json) == pair)
    #expect(Value(json: try JSONValue.parse(#"["set",["a"]]"#)) == "a")
    for wrong in [
      "null", "{}", "[]", #"["set",1]"#, #"["set",[[]]]"#, #"["map",[["k"]]]"#, #"["uuid","x"]"#, #"["list",[]]"#,
    ] {
      #expect(Value(json: try JSONValue.parse(wrong)) == nil)
    }
  }

  @Test("a whole real equals its integer; strings are compared by bytes")
  func equality() {
    #expect(Value.real(2) == .integer(2))
    #expect(Set([Atom.real(2), .integer(2)]).count == 1)
    #expect(Atom.string("e\u{301}") != .string("\u{e9}"))
  }

  @Test("differences of sets and maps are applied as ovsdb-server writes them")
  func differences() {
    #expect(Value.strings(["a", "b"]).applying(difference: .strings(["b", "c"])) == .strings(["a", "c"]))
    #expect(Value.empty.applying(difference: "a") == "a")
    #expect(Value.string("a").applying(difference: "a") == .empty)
    let map = Value.map(["same": "1", "gone": "2", "other": "3"])
    let difference = Value.map(["gone": "2", "other": "4", "new": "5"])
    #expect(map.applying(difference: difference) == .map(["same": "1", "other": "4", "new": "5"]))
  }

  @Test("updates that do not fit are refused")
  func faults() throws {
    let schema = DatabaseSchema(
      name: "T", version: "", tables: ["A": ["n": .init(key: .integer, value: nil, minimum: 1, maximum: 1)]])
    let id = UUID().uuidString
    for update in [
      "[]", #"{"B":{}}"#, #"{"A":[]}"#, #"{"A":{"x":{"delete":null}}}"#, #"{"A":{"\#(id)":{"modify":{"n":1}}}}"#,
      #"{"A":{"\#(id)":{"insert":{"n":null}}}}"#, #"{"A":{"\#(id)":{"upsert":{}}}}"#, #"{"A":{"\#(id)":{}}}"#,
    ] {
      let json = try JSONValue.parse(update)
      #expect(throws: ReplicaContent.Fault.self) {
        try ReplicaContent().changes(by: json, schema: schema, monitored: [MonitoredTable("A")])
      }
    }
    let inserted = try JSONValue.parse(#"{"A":{"\#(id)":{"insert":{}}}}"#)
    let changes = try ReplicaContent().changes(by: inserted, schema: schema, monitored: [MonitoredTable("A")])
    #expect(changes.map(\.new) == [["n": 0]])
  }
}
