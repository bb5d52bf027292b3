import Contract
import JSON
import Testing

@Suite("Lint and documentation")
struct LintTests {
  static let good = [
    "root.yaml": """
    openapi: 3.1.0
    info: { title: "T <b>", version: 1.0, description: "First `code`.\\n\\nSecond." }
    tags: [{ name: things, description: What there is. }]
    paths:
      /things: { $ref: "things.yaml#/paths/collection" }
    """,
    "things.yaml": """
    paths:
      collection:
        post:
          operationId: createThing
          summary: Create a thing
          tags: [things]
          parameters: [{ name: wait, in: query, description: How long to wait., schema: { type: integer, default: 0 } }]
          requestBody:
            required: true
            content:
              application/json:
                schema: { $ref: "#/components/schemas/NewThing" }
                example: { name: a }
          responses:
            "201": { description: Made., content: { application/json: { schema: { $ref: "#/components/schemas/NewThing" } } } }
            default: { description: Not made., content: { application/problem+json: { schema: { type: object } } } }
    components:
      schemas:
        NewThing:
          type: object
          required: [name]
          additionalProperties: false
          properties:
            name: { type: string, maxLength: 3, description: "<script>alert(1)</script>", examples: [abc] }
            parent: { anyOf: [{ $ref: "#/components/schemas/NewThing" }, { type: "null" }], description: Recursive. }
    """,
  ]

  @Test("a tidy contract has no findings")
  func tidy() throws { #expect(try load(Self.good).lint() == []) }

  /// What is replaced in `things.yaml`, by what, and the finding.
  static let faults: [(String, String, Finding.Rule, String)] = [
    ("createThing", "CreateThing", .operationID, "#/paths/collection/post/operationId"),
    ("summary: Create a thing", "deprecated: false", .summary, "#/paths/collection/post"),
    ("tags: [things]", "tags: []", .tags, "#/paths/collection/post"),
    ("tags: [things]", "tags: [other]", .tags, "#/paths/collection/post/tags"),
    ("tags: [things]", "tags: [other]", .unusedTag, "root.yaml#/tags/0"),
    ("\"201\"", "\"409\"", .successResponse, "#/paths/collection/post/responses"),
    ("default: {", "\"202\": {", .problemResponse, "#/paths/collection/post/responses"),
    ("application/problem+json", "application/json", .problemResponse, "#/paths/collection/post/responses"),
    ("additionalProperties: false", "minProperties: 1", .openBody, "#/components/schemas/NewThing"),
    ("description: How long to wait., ", "", .description, "#/paths/collection/post/parameters/0"),
    (", description: Recursive.", "", .description, "-"),
    (
      "example: { name: a }", "example: { name: abcd }", .example,
      "#/paths/collection/post/requestBody/content/application~1json/example/name"
    ),
    ("examples: [abc]", "examples: [abcd]", .example, "#/components/schemas/NewThing/properties/name/examples/0"),
    ("default: 0", "default: x", .example, "#/paths/collection/post/parameters/0/schema/default"),
    ("    NewThing:", "    Unused: { type: string }\n    NewThing:", .unusedComponent, "#/components/schemas/Unused"),
  ]

  @Test("each fault is found where it was written", arguments: faults)
  func findsFault(_ what: String, _ replacement: String, _ rule: Finding.Rule, _ place: String) throws {
    var files = Self.good
    files["things.yaml"] = files["things.yaml"]?.replacing(what, with: replacement)
    let findings = try load(files).lint()
    if place == "-" {
      // The description of the schema that is referred to would do; NewThing has none.
      #expect(findings.map(\.rule) == [.description])
      return
    }
    #expect(findings.contains { $0.rule == rule && "\($0.file)#\($0.pointer)".hasSuffix(place) }, "\(findings)")
  }

  @Test("the documentation is one page without scripts, with all text escaped")
  func docs() throws {
    let html = String(decoding: DocsPage.html(for: try load(Self.good)), as: UTF8.self)
    #expect(html.hasPrefix("<!DOCTYPE html>"))
    #expect(!html.contains("<script"))
    #expect(!html.contains("<b> API"))
    #expect(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"))
    #expect(html.contains("First <code>code</code>.</p><p>Second."))
    for text in ["createThing", "Create a thing", "/things", "How long to wait.", "NewThing", "Made.", "Recursive."] {
      #expect(html.contains(text))
    }
    #expect(!html.contains("src=") && !html.contains("http:") && !html.contains("https:"))
    #expect(html.ranges(of: "<details").count == html.ranges(of: "</details>").count)
    #expect(html.ranges(of: "<table").count == html.ranges(of: "</table>").count)
  }
}
