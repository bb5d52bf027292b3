import JSON
import Testing

@Suite("JSON values and pointers")
struct ValueTests {
  @Test("one and one point zero are the same value and hash alike")
  func numbersCompareByValue() {
    #expect(JSONValue.integer(1) == .number(1))
    #expect(Set<JSONValue>([.integer(1), .number(1)]).count == 1)
    #expect(JSONValue.integer(1) != .number(1.5))
    // 2^63 as a double is not Int64.max, although converting the integer to a double would say so.
    #expect(JSONValue.integer(.max) != .number(9_223_372_036_854_775_808))
    #expect(JSONValue.bool(true) != 1)
  }

  @Test("objects are equal whatever their order, strings only scalar by scalar")
  func equality() {
    let a: JSONValue = ["x": 1, "y": [1, 2]]
    let b: JSONValue = ["y": [1, 2], "x": 1]
    #expect(a == b)
    #expect(a.hashValue == b.hashValue)
    #expect(a != ["x": 1])
    #expect(JSONValue.string("e\u{301}") != "é")
  }

  @Test("setting, replacing and removing members keeps order and lookup, small and large", arguments: [3, 50])
  func members(_ count: Int) {
    var object = JSONObject()
    for number in 0..<count { object["k\(number)"] = .integer(Int64(number)) }
    object["k1"] = "new"
    object["k0"] = nil
    #expect(object.count == count - 1)
    #expect(object.keys == (1..<count).map { "k\($0)" })
    #expect(object["k1"] == "new")
    #expect(object["k0"] == nil)
    #expect(object["k\(count - 1)"] == .integer(Int64(count - 1)))
  }

  // The document and results of RFC 6901 section 5.
  static let document = #"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8}"#

  @Test(
    "pointers lead where RFC 6901 says",
    arguments: [
      ("/foo/0", "bar"), ("/", 0), ("/a~1b", 1), ("/c%d", 2), ("/e^f", 3), ("/i\\j", 5), ("/k\"l", 6), ("/ ", 7),
      ("/m~0n", 8), ("/foo/1", "baz"),
    ] as [(String, JSONValue)])
  func pointers(_ text: String, _ expected: JSONValue) throws {
    let document = try JSONValue.parse(Self.document)
    let pointer = try #require(JSONPointer(parsing: text))
    #expect(document[pointer] == expected)
    #expect(pointer.description == text)
  }

  @Test(
    "pointers to nothing give nil", arguments: ["/foo/2", "/foo/00", "/foo/-", "/foo/-1", "/foo/+1", "/x", "/foo/0/x"])
  func pointersToNothing(_ text: String) throws {
    let document = try JSONValue.parse(Self.document)
    #expect(document[try #require(JSONPointer(parsing: text))] == nil)
  }

  @Test("malformed pointers are none", arguments: ["a", "/~", "/~2", "/a~"])
  func malformedPointers(_ text: String) { #expect(JSONPointer(parsing: text) == nil) }
}
