import AloftModel
import class Contract.Operation
import Foundation
import HTTPTypes
import JSON
import TestSupport
import Testing

@testable import ControlPlane

@Suite("Permissions")
struct PermissionTests {
  /// The callers of docs/PERMISSIONS.md, in the order of its columns.
  private static let columns = [
    "viewer", "member", "admin", "cloud auditor", "cloud operator", "cloud admin", "admin of another project",
    "cloud admin whose token has expired", "nobody",
  ]

  private static func tokens(_ test: TestPlane) async throws -> [String?] {
    let expired = try await test.makeToken(cloudRole: .admin)
    try await test.database.execute(
      "UPDATE api_tokens SET expires_at = aloft_now() - interval '1 hour' WHERE secret_hash = \(Secret.hash(expired))")
    return [
      try await test.makeToken(["default": .viewer]), try await test.makeToken(["default": .member]),
      try await test.makeToken(["default": .admin]), try await test.makeToken(cloudRole: .auditor),
      try await test.makeToken(cloudRole: .operator), try await test.makeToken(cloudRole: .admin),
      try await test.makeToken(["elsewhere": .admin]), expired, nil,
    ]
  }

  /// The target of a call of an operation in project `default`, about things that do not exist; it changes nothing.
  private static func target(_ operation: Operation) -> String {
    var path = operation.path.replacing("{project}", with: "default")
    path = path.replacing(#/\{[a-z_]+\}/#, with: "some-thing")
    var query: [String] = []
    if operation.path == path || !operation.path.contains("{project}"),
      operation.parameters.contains(where: { $0.name == "project" })
    {
      query.append("project=default")
    }
    if operation.parameters.contains(where: { $0.name == "follow" }) { query.append("follow=false") }
    if operation.parameters.contains(where: { $0.name == "dry_run" }) { query.append("dry_run=true") }
    return query.isEmpty ? path : path + "?" + query.joined(separator: "&")
  }

  /// How a caller was received; what the operation itself thinks of the request does not matter.
  private static func reception(_ answer: Answer) -> String {
    switch (answer.status, answer.code) {
    case (401, "unauthenticated"), (401, "token_invalid"), (401, "token_expired"): "401"
    case (403, _): "403"
    case (404, _) where answer["detail"]?.stringValue?.hasPrefix("there is no project") == true: "404"
    default: "yes"
    }
  }

  @Test("who may call what is as docs/PERMISSIONS.md says, for every operation and every role")
  func matrix() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeProjectRow("elsewhere")
      let tokens = try await Self.tokens(test)
      var rows = [
        "| operation | permission | \(Self.columns.joined(separator: " | ")) |",
        "| --- | --- |" + String(repeating: " --- |", count: Self.columns.count),
      ]
      for operation in try Repository.contract.get().operations {
        var cells = [operation.id, operation.extensions["x-aloft-permission"]?.stringValue ?? "none"]
        for token in tokens {
          let headers = token.map { TestPlane.bearer($0) } ?? [:]
          let answer = await test.send(operation.method, Self.target(operation), headers: headers)
          cells.append(Self.reception(answer))
        }
        rows.append("| \(cells.joined(separator: " | ")) |")
      }
      let page = try String(contentsOfFile: Repository.root + "/docs/PERMISSIONS.md", encoding: .utf8)
      let written = page.split(separator: "\n").filter { $0.hasPrefix("|") }.map(String.init)
      #expect(written == rows, "docs/PERMISSIONS.md should hold this table:\n\(rows.joined(separator: "\n"))")
    }
  }

  @Test("a project of others is answered word for word like one that does not exist")
  func absent() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeProjectRow("elsewhere")
      let stranger = TestPlane.bearer(try await test.makeToken(["default": .admin]))
      func detail(_ method: HTTPRequest.Method, _ target: String) async -> String {
        let answer = await test.send(method, target, headers: stranger)
        return "\(answer.status) \(answer["detail"]?.stringValue ?? "")"
      }
      for target in ["/v1/vms?project=", "/v1/images?project=", "/v1/projects/", "/v1/vms/x/start?project="] {
        let method: HTTPRequest.Method = target.contains("start") ? .post : .get
        let others = await detail(method, target + "elsewhere")
        #expect(others == (await detail(method, target + "nowhere")).replacing("nowhere", with: "elsewhere"))
        #expect(others.hasPrefix("404 "))
      }
      let listed = await test.send(.get, "/v1/projects", headers: stranger)
      #expect(listed["items"]?.arrayValue?.compactMap { $0["name"]?.stringValue } == ["default"])
    }
  }

  @Test("the project for which access is decided is the one that is acted on, however often the query names one")
  func namedTwice() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeProjectRow("elsewhere")
      let token = TestPlane.bearer(try await test.makeToken(["default": .admin]))
      for query in [
        "project=default&project=elsewhere", "project=elsewhere&project=default", "project=default&%70roject=elsewhere",
      ] {
        let answer = await test.send(.get, "/v1/vms?\(query)", headers: token)
        #expect(answer.status == 400 || answer.status == 404, "\(query): \(answer)")
      }
    }
  }

  @Test("a token for one project is good there and nowhere else, with the smaller of its role and the user's")
  func limited() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeProjectRow("elsewhere")
      try await test.makeImage()
      func status(_ token: String, _ method: HTTPRequest.Method, _ target: String, _ body: JSONValue? = nil) async
        -> Int
      {
        await test.call(method, target, body, headers: TestPlane.bearer(token)).status
      }
      let narrowed = try await test.makeToken(["default": .admin, "elsewhere": .admin], limit: ("elsewhere", .viewer))
      // Without a project named, its own is meant.
      #expect(await status(narrowed, .get, "/v1/vms") == 200)
      #expect(await status(narrowed, .post, "/v1/images", ["name": "x"]) == 403)
      #expect(await status(narrowed, .get, "/v1/vms?project=default") == 404)
      let widened = try await test.makeToken(["default": .viewer], limit: ("default", .admin))
      #expect(await status(widened, .post, "/v1/images", ["name": "x"]) == 403)
      let outsider = try await test.makeToken(limit: ("default", .admin))
      #expect(await status(outsider, .get, "/v1/vms") == 404)
      let cloud = try await test.makeToken(cloudRole: .admin, limit: ("default", .member))
      #expect(await status(cloud, .post, "/v1/images", ["name": "x"]) == 201)
      #expect(await status(cloud, .get, "/v1/nodes") == 403)
    }
  }

  @Test("a disabled user's tokens are refused, and so is a stream that one of them had opened")
  func disabled() async throws {
    try await TestPlane.with { test async throws in
      let token = try await test.makeToken(["default": .viewer])
      #expect(await test.call(.get, "/v1/vms", headers: TestPlane.bearer(token)).status == 200)
      _ = try await test.database.query("UPDATE users SET disabled = true WHERE name <> 'root' RETURNING 1")
      try await eventually("the token is refused") {
        await test.call(.get, "/v1/vms", headers: TestPlane.bearer(token)).code == "user_disabled"
      }
    }
  }

  @Test("every permission is asked by some operation; every role holds what the smaller ones hold")
  func closedLists() throws {
    let asked = Set(
      try Repository.contract.get().operations.compactMap { $0.extensions["x-aloft-permission"]?.stringValue })
    #expect(asked == Set(Permission.allCases.map(\.rawValue)))
    for permission in Permission.allCases {
      for (smaller, larger) in [(ProjectRole.viewer, ProjectRole.member), (.member, .admin)] {
        #expect(!smaller.holds(permission) || larger.holds(permission))
      }
      for (smaller, larger) in [(CloudRole.auditor, CloudRole.operator), (.operator, .admin)] {
        #expect(!smaller.holds(permission) || larger.holds(permission))
      }
    }
  }
}
