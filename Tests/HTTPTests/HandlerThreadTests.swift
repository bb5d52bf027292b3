import Execution
import Foundation
import HTTP
import TestSupport
import Testing

@Suite("Handlers' threads")
struct HandlerThreadTests {
  @Test("a handler runs on its connection's loop: in actors, in child tasks, and again after it was on another thread")
  func staysOnItsLoop() async throws {
    let elsewhere = DedicatedThread(name: "elsewhere")
    try await withServer(responder: { _ in
      let seen = Box([String]())
      await seen.note()
      await withTaskGroup(of: Void.self) { group in group.addTask { await seen.note() } }
      #expect(await elsewhere.run { threadName() } == "elsewhere")
      let last = threadName()
      await seen.note()
      return Response(contentType: "text/plain", body: Array((await seen.value + [last]).joined(separator: " ").utf8))
    }) { _, port in
      for _ in 0..<4 {
        let client = try await TestClient.connect(port: port)
        let names = Set(try await client.request(ServerTests.get).text.split(separator: " "))
        #expect(names.count == 1 && names.first?.hasPrefix("http-") == true, "\(names)")
      }
    }
  }

  @Test("a handler that waits holds up nobody on its loop")
  func waiting() async throws {
    let gate = Box(false)
    try await withServer(
      configure: { $0.loops = 1 },
      responder: { request in
        if request.path == "/slow" { try? await eventually("the gate opens") { await gate.value } }
        return await echo(request)
      }
    ) { _, port in
      let slow = try await TestClient.connect(port: port)
      try await slow.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
      let quick = try await TestClient.connect(port: port)
      for _ in 0..<10 { #expect(try await quick.request(ServerTests.get).status == 200) }
      await gate.set(true)
      #expect(try await slow.response().text == "GET /slow ")
    }
  }
}

extension Box<[String]> {
  fileprivate func note() { update { $0.append(threadName()) } }
}

private func threadName() -> String {
  let name = try? String(contentsOfFile: "/proc/thread-self/comm", encoding: .utf8)
  return name?.trimmingCharacters(in: .newlines) ?? ""
}
