import Contract
import HTTPTypes
import Testing

@Suite("Responses")
struct ResponseTests {
  static func contract() throws -> Contract {
    try load([
      "root.yaml": document(
        paths: """
            /x:
              get:
                operationId: x
                responses:
                  "200":
                    description: d
                    headers:
                      ETag: { required: true, schema: { type: string, minLength: 2 } }
                      X-Count: { schema: { type: integer } }
                    content:
                      application/json: { schema: { type: object, required: [a], properties: { a: { type: integer, readOnly: true }, secret: { type: string, writeOnly: true } }, additionalProperties: false } }
                      text/event-stream: {}
                  "204": { description: d }
                  4XX: { description: d, content: { application/problem+json: { schema: { type: object, required: [code] } } } }
          """)
    ])
  }

  static let etag: HTTPFields = [.eTag: "\"1\""]
  static let table: [(Int, HTTPFields, String?, String, [String])] = [
    (200, etag, "application/json", #"{"a":1}"#, []), (200, etag, "application/json; charset=utf-8", #"{"a":1}"#, []),
    (200, etag, "application/json", #"{"a":"x","b":1}"#, ["wrongType /a", "unknownField /b"]),
    (200, etag, "application/json", #"{"a":1,"secret":"x"}"#, ["writeOnly /secret"]),
    (200, etag, "application/json", "{}", ["missing /a"]), (200, etag, "application/json", "", ["malformed "]),
    (200, [:], "application/json", #"{"a":1}"#, ["missing ETag:"]),
    (200, [.eTag: "x"], "application/json", #"{"a":1}"#, ["tooShort ETag:"]),
    (200, etag, "text/html", "x", ["unsupportedMediaType Content-Type:"]),
    (200, etag, nil, #"{"a":1}"#, ["unsupportedMediaType Content-Type:"]),
    (200, etag, "text/event-stream", "data: x\n\n", []), (204, [:], nil, "", []),
    (204, [:], nil, "x", ["unexpectedBody "]),
    // U+0000 is refused in requests: an answer may quote it.
    (404, [:], "application/problem+json", #"{"code":"a\u0000b"}"#, []),
    (201, [:], nil, "", ["undocumentedStatus status"]), (500, [:], nil, "", ["undocumentedStatus status"]),
    (404, [:], "application/problem+json", #"{"code":"x"}"#, []),
    (422, [:], "application/problem+json", "{}", ["missing /code"]),
  ]

  @Test("responses are held to the contract", arguments: table)
  func responses(_ status: Int, _ headers: HTTPFields, _ type: String?, _ body: String, _ expected: [String]) throws {
    let contract = try Self.contract()
    let operation = try #require(contract.operation("x"))
    let found = contract.validate(
      response: status, headers: headers, contentType: type, body: Array(body.utf8), for: operation)
    #expect(found.map(\.brief) == expected)
  }

  @Test("headers of the wrong type are found and the answer to HEAD has no body")
  func headersAndHead() throws {
    let contract = try Self.contract()
    let operation = try #require(contract.operation("x"))
    var headers = Self.etag
    headers[try #require(HTTPField.Name("X-Count"))] = "many"
    let found = contract.validate(
      response: 200, headers: headers, contentType: "application/json", body: [], for: operation, isHead: true)
    #expect(found.map(\.brief) == ["wrongType X-Count:"])
  }
}
