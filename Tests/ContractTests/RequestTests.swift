import Contract
import HTTPTypes
import JSON
import Testing

@Suite("Requests")
struct RequestTests {
  static let limit = "{ name: limit, in: query, schema: { type: integer, minimum: 1, maximum: 100, default: 20 } }"
  static let tags =
    "{ name: tag, in: query, schema: { type: array, maxItems: 2, items: { type: string, minLength: 1 } } }"

  /// Parameter, query, its value or what is wrong.
  static let table: [(String, String, JSONValue?, [String])] = [
    (limit, "", 20, []), (limit, "limit=5", 5, []), (limit, "limit=0", nil, ["outOfRange ?limit"]),
    (limit, "limit=abc", nil, ["wrongType ?limit"]), (limit, "limit=", nil, ["wrongType ?limit"]),
    (limit, "limit=5&limit=6", nil, ["duplicate ?limit"]), (limit, "limit=%35", 5, []), (limit, "%6cimit=5", 5, []),
    (limit, "limit=05", nil, ["wrongType ?limit"]), (limit, "limit=+5", nil, ["wrongType ?limit"]),
    (limit, "limit=5.0", 5, []), (limit, "limit=1e1", 10, []), (limit, "limit=0x5", nil, ["wrongType ?limit"]),
    (limit, "limit=99999999999999999999", nil, ["outOfRange ?limit"]),
    (limit, "limt=5", 20, ["unknownParameter ?limt"]),
    (limit, "a=1&b&a=2", 20, ["unknownParameter ?a", "unknownParameter ?b"]),
    (limit, "limit=%zz", nil, ["malformed ?limit"]), (limit, "%zz=1", nil, ["malformed ?%zz"]),
    (limit, "&&limit=5&", 5, []),
    (tags, "", nil, []), (tags, "tag=a", ["a"], []), (tags, "tag=a&tag=b%2Cc", ["a", "b,c"], []),
    (tags, "tag=a,b", ["a,b"], []), (tags, "tag=a&tag=b&tag=c", nil, ["tooMany ?tag"]),
    (tags, "tag=", nil, ["tooShort ?tag"]),
    ("{ name: n, in: query, explode: false, schema: { type: array, items: { type: integer } } }", "n=1,2", [1, 2], []),
    (
      "{ name: n, in: query, explode: false, schema: { type: array, items: { type: integer } } }", "n=1,x", nil,
      ["wrongType ?n"]
    ),
    (
      "{ name: n, in: query, explode: false, schema: { type: array, items: { type: string } } }", "n=a%2Cb,c",
      ["a,b", "c"], []
    ),
    ("{ name: n, in: query, schema: { type: boolean } }", "n=true", true, []),
    ("{ name: n, in: query, schema: { type: boolean } }", "n=1", nil, ["wrongType ?n"]),
    ("{ name: n, in: query, schema: { type: boolean } }", "n", nil, ["wrongType ?n"]),
    ("{ name: n, in: query, schema: { type: string } }", "n=a+b%20c", "a b c", []),
    ("{ name: n, in: query, schema: { type: string } }", "n=a%00", nil, ["nullCharacter ?n"]),
    ("{ name: n, in: query, schema: { type: string } }", "n=%C0%AF", nil, ["malformed ?n"]),
    ("{ name: n, in: query, schema: { type: string } }", "n=12", "12", []),
    ("{ name: n, in: query, schema: { type: [integer, string] } }", "n=12", 12, []),
    ("{ name: n, in: query, schema: { type: [integer, string] } }", "n=x", "x", []),
    ("{ name: n, in: query, schema: { enum: [1, 2] } }", "n=3", nil, ["notOneOf ?n"]),
    ("{ name: n, in: query, schema: { enum: [1, 2] } }", "n=2", 2, []),
    ("{ name: n, in: query, required: true, schema: { type: number } }", "", nil, ["missing ?n"]),
    ("{ name: n, in: query, required: true, schema: { type: number } }", "n=1.5", 1.5, []),
  ]

  @Test("query parameters become typed values", arguments: table)
  func query(_ parameter: String, _ query: String, _ expected: JSONValue?, _ faults: [String]) throws {
    let result = try contract(parameters: parameter).parameters(query: query)
    #expect(result.faults == faults)
    if faults.isEmpty {
      let values = try result.get()
      let value = values.names.filter { $0 != "p" }.first.flatMap { values[$0] }
      #expect(value == expected)
    }
  }

  @Test("path and header parameters are checked as well, and everything is reported together")
  func everywhere() throws {
    let contract = try contract(
      parameters: "{ name: X-Mode, in: header, required: true, schema: { enum: [fast, slow] } }")
    let mode = try #require(HTTPField.Name("x-mode"))
    #expect(try contract.parameters("/x/abc", headers: [mode: "fast"]).get().string("X-Mode") == "fast")
    #expect(try contract.parameters("/x/abc", headers: [mode: "fast"]).get().string("p") == "abc")
    #expect(
      try contract.parameters("/x/toolong", query: "z", headers: [mode: "x"]).faults == [
        "unknownParameter ?z", "tooLong {p}", "notOneOf X-Mode:",
      ])
    #expect(try contract.parameters().faults == ["missing X-Mode:"])
    var twice = HTTPFields()
    twice.append(HTTPField(name: mode, value: "fast"))
    twice.append(HTTPField(name: mode, value: "slow"))
    #expect(try contract.parameters(headers: twice).faults == ["duplicate X-Mode:"])
  }

  @Test("bodies are refused for what they are before what they say")
  func bodies() throws {
    let strict = try contract(body: "{ type: object, required: [a] }")
    #expect(try strict.violations(body: "").map(\.brief) == ["missing "])
    #expect(try strict.violations(body: "{").map(\.brief) == ["malformed "])
    #expect(try strict.violations(body: #"{"a":1,"a":1}"#).map(\.brief) == ["malformed "])
    #expect(try strict.violations(body: "{}", contentType: nil).map(\.brief) == ["unsupportedMediaType Content-Type:"])
    #expect(
      try strict.violations(body: "{}", contentType: "text/plain").map(\.brief) == [
        "unsupportedMediaType Content-Type:"
      ])
    #expect(
      try strict.violations(body: "{}", contentType: "application").map(\.brief) == [
        "unsupportedMediaType Content-Type:"
      ])
    #expect(
      try strict.violations(body: "{}", contentType: "application/json; charset=latin1").map(\.brief) == [
        "unsupportedMediaType Content-Type:"
      ])
    #expect(try strict.violations(body: #"{"a":1}"#, contentType: "Application/JSON ; charset=\"UTF-8\"").isEmpty)
    let open = try contract(parameters: Self.limit)
    #expect(throws: RequestRefusal.self) {
      try open.validate(try open.match(.get, "/x/a"), query: nil, headers: [:], body: [1])
    }
  }

  @Test("a valid request gives body, bytes and media type")
  func validated() throws {
    let contract = try contract(body: "{ type: object }")
    let bytes = Array(#"{"a":[1]}"#.utf8)
    let request = try contract.validate(
      try contract.match(.post, "/x"), query: nil, headers: [.contentType: "application/json"], body: bytes)
    #expect(request.body == ["a": [1]])
    #expect(request.bodyBytes == bytes)
    #expect(request.mediaType == "application/json")
  }

  @Test("a streamed body is checked by its head only")
  func streams() throws {
    let contract = try load([
      "root.yaml": document(
        paths: """
            /x:
              put:
                operationId: x
                parameters: [{ name: n, in: query, schema: { type: integer } }]
                requestBody: { required: true, content: { application/octet-stream: {} } }
                responses: { "204": { description: d } }
          """)
    ])
    let match = try contract.match(.put, "/x")
    let request = try contract.validateHead(match, query: "n=1", headers: [.contentType: "application/octet-stream"])
    #expect(request.parameters.int("n") == 1)
    #expect(request.body == nil)
    #expect(throws: RequestRefusal.self) {
      try contract.validateHead(match, query: "n=x", headers: [.contentType: "application/octet-stream"])
    }
    #expect(throws: RequestRefusal.self) {
      try contract.validateHead(match, query: nil, headers: [.contentType: "application/json"])
    }
  }

  @Test("validation speed, printed")
  func speed() throws {
    let contract = try contract(parameters: Self.limit)
    let match = try contract.match(.get, "/x/abc")
    let rounds = 10_000
    let elapsed = try ContinuousClock().measure {
      for _ in 0..<rounds { _ = try contract.validate(match, query: "limit=5", headers: [:], body: []) }
    }
    print("validate two parameters: \(elapsed / rounds)")
  }
}
