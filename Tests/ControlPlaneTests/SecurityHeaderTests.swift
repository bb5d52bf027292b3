import HTTPTypes
import JSON
import Testing

@testable import ControlPlane

@Suite("Security headers")
struct SecurityHeaderTests {
  @Test("no answer is sniffed or kept by a browser, whatever it says and to whom")
  func everywhere() async throws {
    try await TestPlane.with { test async throws in
      let answers = [
        await test.call(.get, "/v1/vms"), await test.send(.get, "/v1/vms"), await test.call(.get, "/v1/nowhere"),
        await test.call(.post, "/v1/vms", ["name": 7]), await test.send(.get, "/healthz"),
        await test.send(.get, "/docs"),
        await test.send(.get, "/agent/v1/assignments"),
      ]
      #expect(answers.map(\.status) == [200, 401, 404, 400, 200, 200, 401])
      for answer in answers {
        #expect(answer.header("X-Content-Type-Options") == "nosniff")
        #expect(answer.header("Cache-Control") == "no-store")
        #expect(answer.header("Strict-Transport-Security") == "max-age=31536000")
      }
    }
  }

  @Test("the page for people may run no script, fetch nothing and be framed by nobody")
  func page() async throws {
    try await TestPlane.with { test async throws in
      let policy = try #require(await test.send(.get, "/docs").header("Content-Security-Policy"))
      #expect(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"))
      #expect(!policy.contains("script-src"))
    }
  }
}
