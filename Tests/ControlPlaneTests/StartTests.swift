import AloftModel
import ControlPlane
import JSON
import Testing

@testable import ControlPlane

@Suite("Start")
struct StartTests {
  @Test("every operation of the contract has its handler: the plane starts and answers")
  func starts() async throws {
    try await TestPlane.with { test async throws in
      for path in ["/healthz", "/readyz", "/openapi.json", "/docs"] {
        let answer = await test.send(.get, path)
        #expect(answer.status == 200, "\(path): \(answer.status)")
        #expect(answer.header("X-Request-Id") != nil)
      }
      let metrics = await test.call(.get, "/metrics")
      #expect(metrics.status == 200)
      #expect(String(decoding: metrics.bytes, as: UTF8.self).contains("aloft_http_requests_total"))
    }
  }

  @Test("figures of paths that nobody serves are not the agents'")
  func metricsOfNothing() async throws {
    try await TestPlane.with { test async throws in
      _ = await test.send(.get, "/nothing")
      _ = await test.send(.delete, "/healthz")
      _ = await test.send(.get, "/agent/v1/assignments")
      let text = String(decoding: await test.call(.get, "/metrics").bytes, as: UTF8.self)
      for line in [
        "{operation=\"none\",status=\"404\"} 1", "{operation=\"none\",status=\"405\"} 1",
        "{operation=\"agent\",status=\"401\"} 1",
      ] {
        #expect(text.contains("aloft_http_requests_total" + line), "\(line)")
      }
    }
  }

  @Test("a handler without an operation stops the start")
  func extraHandler() async throws {
    try await TestPlane.with { test async throws in
      var handlers = HandlerTable()
      handlers.on("noSuchOperation") { _ in .noContent }
      #expect(throws: StartFailure.self) {
        try API(contract: try Repository.contract.get(), handlers: handlers, plane: test.plane.plane)
      }
    }
  }

  @Test("the contract's lists of codes are the program's")
  func lists() throws {
    let schemas = try #require(try Repository.contract.get().document["components"]?["schemas"])
    func words(_ name: String) -> [String] {
      let found = schemas.objectValue?.first { $0.key == name || $0.key.hasSuffix("_\(name)") }?.value
      return found?["enum"]?.arrayValue?.compactMap(\.stringValue).sorted() ?? []
    }
    #expect(words("ProblemCode") == ProblemCode.allCases.map(\.rawValue).sorted())
    #expect(words("EventKind") == EventKind.allCases.map(\.rawValue).sorted())
    #expect(words("VMState") == VMState.allCases.map(\.rawValue).sorted())
    #expect(words("Power") == Power.allCases.map(\.rawValue).sorted())
  }

  @Test("every problem code has a status of its family and a title")
  func codes() {
    for code in ProblemCode.allCases {
      #expect((400...599).contains(code.status), "\(code)")
      #expect(!code.title.isEmpty)
    }
    #expect(Set(EventKind.allCases.map(\.rawValue)).count == EventKind.allCases.count)
  }
}
