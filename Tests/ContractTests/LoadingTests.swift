import Contract
import JSON
import Testing

@Suite("Loading and bundling")
struct LoadingTests {
  static let files = [
    "root.yaml": """
    openapi: 3.1.0
    info: { title: T, version: 1.10 }
    paths:
      /v1/vms: { $ref: "./nouns/vms.yaml#/paths/~1v1~1vms" }
    components:
      schemas:
        VM: { $ref: "nouns/vms.yaml#/components/schemas/VM" }
    """,
    "nouns/vms.yaml": """
    paths:
      /v1/vms:
        get:
          operationId: listVMs
          parameters: [{ $ref: "../common.yaml#/components/parameters/Limit" }]
          responses:
            "200":
              description: d
              content: { application/json: { schema: { $ref: "#/components/schemas/VM" } } }
            default: { $ref: "../common.yaml#/components/responses/Problem" }
    components:
      schemas:
        VM:
          type: object
          properties:
            parent: { $ref: "#/components/schemas/VM", description: recursive }
            name: { $ref: "../common.yaml#/components/schemas/Name" }
            state: { type: string, enum: [on, off, yes, no, null, 2026-01-01, 1.10], example: 12 }
            $ref: { type: string }
        Unused: { type: [string, "null"], enum: [a, null] }
    """,
    "common.yaml": """
    components:
      parameters:
        Limit: { name: limit, in: query, schema: { type: integer, default: 10 } }
      responses:
        Problem: { description: d, content: { application/problem+json: { schema: { type: object } } } }
      schemas:
        Name: { type: string, pattern: "^[a-z]+$" }
    """,
  ]

  @Test("references into sibling files become local ones")
  func bundles() throws {
    let contract = try load(Self.files)
    let document = try JSONValue.parse(contract.bundledJSON)
    #expect(document == contract.document)
    let vm = try #require(document["components"]?["schemas"]?["VM"])
    #expect(vm["properties"]?["parent"]?["$ref"] == "#/components/schemas/VM")
    #expect(vm["properties"]?["parent"]?["description"] == "recursive")
    #expect(vm["properties"]?["name"] == ["$ref": "#/components/schemas/Name"])
    #expect(vm["properties"]?["$ref"] == ["type": "string"])
    let operation = try #require(document["paths"]?["/v1/vms"]?["get"])
    #expect(operation["parameters"]?[0] == ["$ref": "#/components/parameters/Limit"])
    #expect(document["components"]?["parameters"]?["Limit"]?["name"] == "limit")
    #expect(contract.operation("listVMs")?.parameters.first?.defaultValue == 10)
    #expect(!String(decoding: contract.bundledJSON, as: UTF8.self).contains(".yaml"))
  }

  @Test("text stays text where the document means text")
  func yamlTraps() throws {
    let contract = try load(Self.files)
    #expect(contract.document["info"]?["version"] == "1.10")
    let state = contract.document["components"]?["schemas"]?["VM"]?["properties"]?["state"]
    #expect(state?["enum"] == ["on", "off", "yes", "no", "null", "2026-01-01", "1.10"])
    #expect(state?["example"] == "12")
    #expect(contract.document["components"]?["schemas"]?["Unused"]?["enum"] == ["a", nil])
  }

  @Test(
    "plain scalars are JSON's and nothing else",
    arguments: [
      ("no", "no"), ("Yes", "Yes"), ("on", "on"), ("2026-01-01", "2026-01-01"),
      ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
      ("1_000", "1_000"), ("0x10", "0x10"), ("007", "007"), ("+5", "+5"), (".5", ".5"), ("1:30", "1:30"), ("-", "-"),
      ("12", 12), ("-1.5e3", -1500), ("true", true), ("~", nil), ("null", nil), ("'12'", "12"), ("TRUE", "TRUE"),
    ] as [(String, JSONValue)])
  func scalars(_ text: String, _ expected: JSONValue) throws {
    if text == "-" { return }
    let contract = try load([
      "root.yaml": "x-value: \(text)\n"
        + document(paths: "  /: { get: { operationId: a, responses: { default: { description: d } } } }")
    ])
    #expect(contract.document["x-value"] == expected)
  }

  static let faults: [(String, [String: String], String, String)] = [
    ("a missing file", ["root.yaml": document(paths: "  /x: { $ref: 'gone.yaml#/x' }")], "gone.yaml", "no such file"),
    ("bad YAML", ["root.yaml": "a: [1"], "root.yaml", "not YAML"),
    ("a key given twice", ["root.yaml": "a: 1\na: 2"], "root.yaml", "unique"),
    (
      "a circle", ["root.yaml": document(paths: "  /x: { $ref: '#/paths/~1y' }\n  /y: { $ref: '#/paths/~1x' }")],
      "root.yaml#/paths/~1x", "circle"
    ),
    (
      "a dangling reference", ["root.yaml": document(paths: "  /x: { $ref: '#/paths/~1y' }")], "root.yaml#/paths/~1x",
      "leads to nothing"
    ),
    (
      "a URL", ["root.yaml": document(paths: "  /x: { $ref: 'https://example.org/x.yaml#/y' }")],
      "root.yaml#/paths/~1x", "beside this one"
    ),
    (
      "an absolute path", ["root.yaml": document(paths: "  /x: { $ref: '/etc/passwd#/y' }")], "root.yaml#/paths/~1x",
      "beside this one"
    ),
    (
      "two components of one name",
      [
        "root.yaml": document(
          paths:
            "  /x: { get: { operationId: a, responses: { '200': { $ref: 'b.yaml#/components/responses/R' }, '201': { $ref: 'c.yaml#/components/responses/R' } } } }"
        ),
        "b.yaml": "components: { responses: { R: { description: b } } }",
        "c.yaml": "components: { responses: { R: { description: c } } }",
      ], "root.yaml", "rename one"
    ),
    (
      "no operationId", ["root.yaml": document(paths: "  /x: { get: { responses: { '200': { description: d } } } }")],
      "root.yaml#/paths/~1x/get", "operationId"
    ),
    (
      "no responses", ["root.yaml": document(paths: "  /x: { get: { operationId: a } }")], "root.yaml#/paths/~1x/get",
      "no responses"
    ),
    (
      "one operationId twice",
      [
        "root.yaml": document(
          paths:
            "  /x: { get: { operationId: a, responses: { '200': { description: d } } } }\n  /y: { get: { operationId: a, responses: { '200': { description: d } } } }"
        )
      ],
      "root.yaml#/paths/~1y/get", "also that of /x"
    ),
    (
      "one route twice",
      [
        "root.yaml": document(
          paths:
            "  /{a}: { get: { operationId: a, parameters: [{ name: a, in: path, required: true, schema: {} }], responses: { '200': { description: d } } } }\n  /{b}: { get: { operationId: b, parameters: [{ name: b, in: path, required: true, schema: {} }], responses: { '200': { description: d } } } }"
        )
      ],
      "root.yaml#/paths/~1{b}/get", "same route"
    ),
    (
      "an undeclared path parameter",
      ["root.yaml": document(paths: "  /{a}: { get: { operationId: a, responses: { '200': { description: d } } } }")],
      "root.yaml#/paths/~1{a}/get", "no path parameter a"
    ),
    (
      "an unknown security scheme",
      [
        "root.yaml": document(
          paths: "  /x: { get: { operationId: a, security: [{ key: [] }], responses: { '200': { description: d } } } }")
      ],
      "root.yaml#/paths/~1x/get/security", "key"
    ),
  ]

  @Test("errors name file, place and problem", arguments: faults)
  func errors(_ what: String, _ files: [String: String], _ place: String, _ problem: String) {
    #expect { try load(files) } throws: { error in
      guard let error = error as? ContractError else { return false }
      return error.description.hasPrefix(place) && error.problem.contains(problem)
    }
  }

  @Test(
    "what would not be enforced is refused",
    arguments: [
      ("{ type: strnig }", "must be one of null"), ("{ type: [string, null] }", "quote"),
      ("{ minLenght: 1 }", "minLenght"),
      ("{ if: { type: string } }", "if is not supported"), ("{ format: zip-code }", "unknown format"),
      ("{ pattern: '(?=a)' }", "look-around"), ("{ pattern: '(a' }", "without"), ("{ minLength: -1 }", "from 0"),
      ("{ $ref: '#/components/schemas/Gone' }", "leads to nothing"), ("{ multipleOf: 0 }", "above 0"), ("7", "mapping"),
    ])
  func unsupported(_ schema: String, _ problem: String) {
    #expect { try contract(body: schema) } throws: { error in
      (error as? ContractError)?.problem.contains(problem) == true
    }
  }

  @Test("a schema that refers to itself in place is refused, one that does so through a property is not")
  func recursion() throws {
    #expect(throws: ContractError.self) {
      try contract(
        body: "{ $ref: '#/components/schemas/A' }",
        components:
          "  schemas:\n    A: { allOf: [{ $ref: '#/components/schemas/B' }] }\n    B: { anyOf: [{ $ref: '#/components/schemas/A' }] }"
      )
    }
    let tree = try contract(
      body: "{ $ref: '#/components/schemas/Tree' }",
      components:
        "  schemas:\n    Tree: { type: object, additionalProperties: false, properties: { left: { $ref: '#/components/schemas/Tree' }, leaf: { type: integer } } }"
    )
    #expect(try tree.violations(body: #"{"left":{"left":{"leaf":1}}}"#).isEmpty)
    #expect(try tree.violations(body: #"{"left":{"left":{"leaf":"x"}}}"#).map(\.brief) == ["wrongType /left/left/leaf"])
  }

  @Test("operations and handlers are compared by name")
  func unbound() throws {
    let contract = try load(Self.files)
    let (missing, extra) = contract.unbound(handlers: ["listVMs", "gone"])
    #expect(missing == [])
    #expect(extra == ["gone"])
    #expect(contract.unbound(handlers: []).missing == ["listVMs"])
  }

  @Test("vendor extensions and security are told per operation")
  func extensions() throws {
    let contract = try load([
      "root.yaml": document(
        paths: """
            /x:
              x-area: compute
              get:
                operationId: a
                x-aloft-permission: vm.read
                security: []
                responses: { "200": { description: d } }
              put:
                operationId: b
                x-area: other
                security: [{ token: [] }]
                responses: { "200": { description: d } }
          """, components: "  securitySchemes: { token: { type: http, scheme: bearer } }")
    ])
    let read = try #require(contract.operation("a"))
    #expect(read.extensions["x-aloft-permission"] == "vm.read")
    #expect(read.extensions["x-area"] == "compute")
    #expect(read.security.isEmpty)
    #expect(contract.operation("b")?.extensions["x-area"] == "other")
    #expect(contract.operation("b")?.security.first?.schemes.keys.sorted() == ["token"])
  }
}
