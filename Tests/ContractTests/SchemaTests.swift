import Contract
import JSON
import Testing

@Suite("Schema validation")
struct SchemaTests {
  /// Schema, body, and what is wrong with it.
  static let table: [(String, String, [String])] = [
    ("{ type: string }", "1", ["wrongType "]), ("{ type: string }", "\"x\"", []),
    ("{ type: [string, 'null'] }", "null", []), ("{ type: [string, 'null'] }", "1", ["wrongType "]),
    ("{ type: integer }", "1.0", []), ("{ type: integer }", "1.5", ["wrongType "]),
    ("{ type: integer }", "9223372036854775808", ["outOfRange "]), ("{ type: integer }", "9223372036854775807", []),
    ("{ type: integer }", "-9223372036854775809", []), ("{ type: integer }", "-1e30", ["outOfRange "]),
    ("{ type: integer, format: int32 }", "2147483648", ["outOfRange "]), ("{ type: number }", "1", []),
    ("{ type: boolean }", "\"true\"", ["wrongType "]), ("{ type: array }", "{}", ["wrongType "]),
    ("{ enum: [a, 1, null] }", "null", []), ("{ enum: [a, 1, null] }", "1.0", []),
    ("{ enum: [a, 1, null] }", "\"b\"", ["notOneOf "]), ("{ const: { a: 1 } }", "{\"a\":1}", []),
    ("{ const: x }", "\"y\"", ["notOneOf "]),
    ("{ minLength: 2 }", "\"a\"", ["tooShort "]), ("{ minLength: 2 }", "\"😀\"", ["tooShort "]),
    ("{ maxLength: 1 }", "\"😀\"", []), ("{ maxLength: 1 }", "\"e\u{301}\"", ["tooLong "]),
    ("{ pattern: '^a$' }", "\"b\"", ["patternMismatch "]), ("{ pattern: a }", "\"xax\"", []),
    ("{ pattern: a, maxLength: 3 }", "\"xxxx\"", ["tooLong "]), ("{ minLength: 9 }", "1", []),
    ("{ minimum: 1, maximum: 3 }", "0", ["outOfRange "]), ("{ minimum: 1, maximum: 3 }", "3", []),
    ("{ minimum: 1, maximum: 3 }", "3.01", ["outOfRange "]), ("{ exclusiveMinimum: 1 }", "1", ["outOfRange "]),
    ("{ exclusiveMaximum: 1 }", "1", ["outOfRange "]), ("{ exclusiveMaximum: 1 }", "0.99", []),
    ("{ minimum: -3.5 }", "-4", ["outOfRange "]), ("{ minimum: -3.5 }", "-3", []),
    ("{ multipleOf: 4 }", "6", ["outOfRange "]), ("{ multipleOf: 0.1 }", "0.3", []),
    ("{ multipleOf: 0.1 }", "0.35", ["outOfRange "]),
    ("{ items: { type: integer } }", "[1,\"x\",2,null]", ["wrongType /1", "wrongType /3"]),
    ("{ prefixItems: [{ type: string }], items: { type: integer } }", "[1,2,\"x\"]", ["wrongType /0", "wrongType /2"]),
    ("{ minItems: 1 }", "[]", ["tooFew "]), ("{ maxItems: 1 }", "[1,2]", ["tooMany "]),
    ("{ uniqueItems: true }", "[1,2,1.0,{\"a\":1},{\"a\":1}]", ["duplicate /2", "duplicate /4"]),
    ("{ required: [a, b] }", "{\"a\":1}", ["missing /b"]),
    ("{ properties: { a: { type: string } } }", "{\"a\":1,\"b\":2}", ["wrongType /a"]),
    ("{ properties: { a: {} }, additionalProperties: false }", "{\"b/c\":1}", ["unknownField /b~1c"]),
    ("{ additionalProperties: { type: integer } }", "{\"a\":1,\"b\":\"x\"}", ["wrongType /b"]),
    (
      "{ patternProperties: { '^x-': { type: string } }, additionalProperties: false }", "{\"x-a\":1,\"y\":1}",
      ["wrongType /x-a", "unknownField /y"]
    ),
    ("{ propertyNames: { pattern: '^[a-z]+$' } }", "{\"A\":1}", ["patternMismatch /A"]),
    ("{ minProperties: 1 }", "{}", ["tooFew "]), ("{ maxProperties: 1 }", "{\"a\":1,\"b\":1}", ["tooMany "]),
    ("{ properties: { a: false } }", "{\"a\":1}", ["forbidden /a"]),
    ("{ allOf: [{ required: [a] }, { required: [b] }] }", "{}", ["missing /a", "missing /b"]),
    ("{ anyOf: [{ type: string }, { type: 'null' }] }", "1", ["notOneOf "]),
    ("{ anyOf: [{ type: string }, { type: 'null' }] }", "null", []),
    ("{ anyOf: [{ type: object, required: [a] }, { type: 'null' }] }", "{}", ["missing /a"]),
    ("{ oneOf: [{ type: integer }, { minimum: 5 }] }", "7", ["notOneOf "]),
    ("{ oneOf: [{ type: integer }, { minimum: 5 }] }", "3", []),
    (
      "{ oneOf: [{ properties: { kind: { const: a }, n: { type: integer } } }, { properties: { kind: { const: b }, s: { type: string } } }] }",
      "{\"kind\":\"b\",\"s\":1}", ["wrongType /s"]
    ),
    ("{ not: { type: string } }", "\"x\"", ["forbidden "]), ("{ not: { type: string } }", "1", []),
    (
      "{ allOf: [{ properties: { a: {} } }], properties: { b: {} }, unevaluatedProperties: false }",
      "{\"a\":1,\"b\":1,\"c\":1}",
      ["unknownField /c"]
    ),
    ("{ properties: { id: { type: string, readOnly: true } }, required: [id] }", "{}", []),
    ("{ properties: { id: { type: string, readOnly: true } } }", "{\"id\":\"x\"}", ["readOnly /id"]),
    ("{}", "{\"a\":[{\"b\":\"x\\u0000\"}]}", ["nullCharacter /a/0/b"]),
    ("{}", "{\"a\\u0000\":1}", ["nullCharacter /a\0"]),
    ("{ type: string }", "\"\\u0000\"", ["nullCharacter "]),
    (
      "{ type: object, properties: { a: { type: string }, b: { type: integer, minimum: 3 } }, required: [c], additionalProperties: false }",
      "{\"a\":1,\"b\":2,\"d\":3}", ["missing /c", "wrongType /a", "outOfRange /b", "unknownField /d"]
    ),
  ]

  @Test("each keyword finds what it is for, and where", arguments: table)
  func keywords(_ schema: String, _ body: String, _ expected: [String]) throws {
    #expect(try contract(body: schema).violations(body: body).map(\.brief) == expected)
  }

  static let formats: [(String, [String], [String])] = [
    ("date-time", ["2026-02-03T04:05:06Z", "2026-02-03T04:05:06.5+01:00"], ["2026-02-03", "today", ""]),
    ("date", ["2026-02-28"], ["2026-02-30", "2026-2-3", "2026-02-03T00:00:00Z"]),
    ("uuid", ["f81d4fae-7dec-11d0-a765-00a0c91e6bf6"], ["f81d4fae7dec11d0a76500a0c91e6bf6", "x"]),
    ("uri", ["https://example.org/a?b#c", "urn:x"], ["/a", "https://a b", "https:", "1a:b", "http://%zz", "é:x"]),
    ("ipv4", ["192.0.2.1"], ["192.0.2", "192.0.2.256", "192.0.02.1", "::1", "1.2.3.4 "]),
    ("ipv6", ["::1", "2001:db8::10"], ["1.2.3.4", "fe80::1%eth0", ":::", ""]),
    (
      "cidr", ["192.0.2.0/24", "0.0.0.0/0", "2001:db8::/32", "10.0.0.1/32"],
      ["192.0.2.1/24", "192.0.2.0", "10.0.0.0/33", "10.0.0.0/08", "::1/64"]
    ),
    ("mac", ["52:54:00:12:34:5f"], ["52-54-00-12-34-56", "52:54:00:12:34", "5g:54:00:12:34:56"]),
    ("hostname", ["a", "a-b.example.org"], ["-a", "a-", "a..b", "a_b", "", String(repeating: "a", count: 64)]),
    ("byte", ["", "YQ==", "YWI=", "YWJj"], ["YQ", "Y===", "Y Q=", "YQ==="]),
    ("sha256", [String(repeating: "0a", count: 32)], [String(repeating: "0A", count: 32), "0a"]),
    ("email", ["a.b@example.org"], ["a", "a@", "@b", "a@b@c", "a b@c"]),
  ]

  @Test("formats accept and refuse", arguments: formats)
  func checksFormat(_ name: String, _ good: [String], _ bad: [String]) throws {
    let contract = try contract(body: "{ type: string, format: \(name) }")
    for text in good { #expect(try contract.violations(body: JSONValue.string(text).description) == []) }
    for text in bad {
      #expect(
        try contract.violations(body: JSONValue.string(text).description).map(\.brief) == ["badFormat "], "\(text)")
    }
  }

  @Test("messages say what was wrong and what would work")
  func messages() throws {
    let closed = try contract(
      body: "{ properties: { memory_mib: { type: integer, maximum: 4 }, name: {} }, additionalProperties: false }")
    #expect(
      try closed.violations(body: #"{"memroy_mib":1}"#).first?.message == "is not known here; did you mean memory_mib?")
    #expect(
      try closed.violations(body: #"{"zzz":1}"#).first?.message == "is not known here; known are memory_mib, name")
    #expect(try closed.violations(body: #"{"memory_mib":5}"#).first?.message == "must be at most 4, not 5")
    #expect(try closed.violations(body: #"{"memory_mib":"5"}"#).first?.message == "must be an integer, not string")
    let choice = try contract(body: "{ enum: [on, off, null] }")
    let long = String(repeating: "x", count: 10_000)
    let message = try #require(try choice.violations(body: "\"\(long)\"").first?.message)
    #expect(message.hasPrefix(#"must be one of "on", "off", null, not "xxx"#))
    #expect(message.count < 120)
  }

  @Test("violations are bounded in number, and alternatives in work")
  func bounded() throws {
    let many = try contract(body: "{ items: { type: integer } }")
    #expect(
      try many.violations(body: "[" + Array(repeating: "\"x\"", count: 10_000).joined(separator: ",") + "]").count
        == Violation.limit)
    let explosive = try contract(
      body: "{ $ref: '#/components/schemas/E' }",
      components:
        "  schemas:\n    E: { anyOf: [{ properties: { a: { $ref: '#/components/schemas/E' } }, required: [z] }, { properties: { a: { $ref: '#/components/schemas/E' } }, required: [y] }] }"
    )
    let depth = 60
    let body = String(repeating: "{\"a\":", count: depth) + "{}" + String(repeating: "}", count: depth)
    #expect(try explosive.violations(body: body).map(\.brief) == ["tooComplex "])
  }
}
