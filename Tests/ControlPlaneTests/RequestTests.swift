import AloftModel
import ControlPlane
import Foundation
import HTTPTypes
import JSON
import Postgres
import Testing

@Suite("Requests")
struct RequestTests {
  @Test("a request id that is fit to be logged is taken over; another is replaced")
  func requestID() async throws {
    try await TestPlane.with { test async throws in
      let given = await test.call(.get, "/v1/projects", headers: ["X-Request-Id": "my-request_01"])
      #expect(given.header("X-Request-Id") == "my-request_01")
      for hostile in ["short", String(repeating: "a", count: 65), "spaces in it", "quote\"quote"] {
        let answer = await test.call(.get, "/v1/projects", headers: ["X-Request-Id": hostile])
        #expect(answer.header("X-Request-Id")?.hasPrefix("req_") == true, "\(hostile)")
      }
    }
  }

  @Test("a path without this method says which it has")
  func allow() async throws {
    try await TestPlane.with { test async throws in
      let answer = await test.call(.put, "/v1/vms")
      #expect(answer.status == 405)
      let allowed = answer.header("Allow")?.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) } ?? []
      #expect(Set(allowed).isSuperset(of: ["GET", "POST"]), "\(allowed)")
    }
  }

  @Test("without its database the plane says that it is unavailable and when to come back")
  func unavailable() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      await test.runtime.shutdown()
      for (method, path) in [("GET", "/v1/vms"), ("POST", "/v1/images"), ("GET", "/readyz")] {
        let answer = await test.call(.init(method) ?? .get, path, method == "POST" ? ["name": "other"] : nil)
        #expect(answer.status == 503, "\(path): \(answer)")
        #expect(answer.code == "unavailable")
        #expect(answer.header("Retry-After") != nil)
      }
      #expect(await test.send(.get, "/healthz").status == 200)
    }
  }

  @Test("every accepted change has its line in the audit")
  func audit() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      _ = try await FakeAgent.join(test)
      _ = try await test.createVM("web")
      _ = await test.call(.post, "/v1/vms", TestPlane.body("web"))
      _ = await test.call(.post, "/v1/vms/web/stop", headers: ["X-Request-Id": "stop-request"])
      let operations: [String] = try await test.database.query(
        "SELECT operation FROM audit WHERE refusal IS NULL ORDER BY id"
      ).map {
        try $0.get(0)
      }
      #expect(operations == ["createImage", "uploadImage", "createNodeToken", "joinNode", "createVM", "stopVM"])
      let stop = try #require(
        try await test.database.one("SELECT actor, peer, request_id FROM audit WHERE operation = 'stopVM'"))
      #expect(try stop.get(0, as: String.self).hasPrefix("token:"))
      #expect(try stop.get(1, as: String.self) == "127.0.0.1")
      #expect(try stop.get(2, as: String.self) == "stop-request")
    }
  }

  @Test("cursors of lists are read as they are written, and nothing else is")
  func cursors() async throws {
    try await TestPlane.with { test async throws in
      for text in ["A", "AAAAAAAAAAAAAAAAAAAAAAA", "-", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        #expect(await test.call(.get, "/v1/vms?cursor=\(text)").code == "bad_cursor", "\(text)")
      }
      #expect(await test.call(.get, "/v1/vms?cursor=AAAAAAAAAAAAAAAAAAAAAA").status == 200)
    }
  }
}
