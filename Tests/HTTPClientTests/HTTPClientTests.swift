import Foundation
import HTTPTypes
import Logging
import TestSupport
import Testing

@testable import HTTPClient

func makeClient(_ configuration: HTTPClientConfiguration = HTTPClientConfiguration()) -> HTTPClient {
  HTTPClient(
    configuration: configuration, logger: TestLogs.logger("http-client"))
}

extension HTTPClientResponse {
  var object: [String: Any] {
    get throws { try JSONSerialization.jsonObject(with: Data(body)) as? [String: Any] ?? [:] }
  }
}

/// The kind of the error that `body` throws; nil if it throws none.
func kind(_ body: () async throws -> Void) async -> HTTPClientError.Kind? {
  do {
    try await body()
    return nil
  } catch {
    return (error as? HTTPClientError)?.kind
  }
}

@Suite("HTTPClient: requests")
struct RequestTests {
  @Test(
    "method, path, headers and body arrive as given and the response's fields come back in order")
  func roundTrip() async throws {
    let server = try await TestServer.shared()
    var headers: HTTPFields = [.authorization: "Bearer t"]
    headers[HTTPField.Name("X-Empty") ?? .accept] = ""
    let response = try await makeClient().send(
      HTTPClientRequest(
        method: .put, url: server.http + "/echo/a%20b/../c?q=1", headers: headers,
        body: .bytes(pattern(count: 1000))),
      deadline: .seconds(20))
    #expect(response.status == 200)
    let echo = try response.object
    #expect(echo["method"] as? String == "PUT")
    #expect(echo["path"] as? String == "/echo/a%20b/../c?q=1")
    #expect(echo["length"] as? Int == 1000)
    #expect(echo["pattern"] as? Bool == true)
    let seen = try #require(echo["headers"] as? [String: String])
    #expect(seen["authorization"] == "Bearer t")
    #expect(seen["x-empty"] == "")
    #expect(seen["user-agent"] == "aloft")
    #expect(seen["content-length"] == "1000")
    #expect(seen["expect"] == nil)
    let twice = try #require(HTTPField.Name("X-Twice"))
    #expect(response.headers[values: twice] == ["one", "two"])
    #expect(response.headers[try #require(HTTPField.Name("X-Empty"))] == "")
  }

  @Test("every method frames its body", arguments: ["GET", "DELETE", "POST", "PATCH", "PUT"])
  func methods(name: String) async throws {
    let server = try await TestServer.shared()
    let method = try #require(HTTPRequest.Method(name))
    let client = makeClient()
    let empty = try await client.send(
      HTTPClientRequest(method: method, url: server.http + "/echo"), deadline: nil
    ).object
    #expect(empty["method"] as? String == name)
    let length = (empty["headers"] as? [String: String])?["content-length"]
    #expect(length == (["GET", "DELETE"].contains(name) ? nil : "0"))
    let full = try await client.send(
      HTTPClientRequest(
        method: method, url: server.http + "/echo", body: .bytes(pattern(count: 10))), deadline: nil
    ).object
    #expect(full["method"] as? String == name)
    #expect(full["length"] as? Int == 10)
  }

  @Test("a HEAD response has fields and no body")
  func head() async throws {
    let server = try await TestServer.shared()
    let response = try await makeClient().send(
      HTTPClientRequest(method: .head, url: server.http + "/status/200"), deadline: .seconds(20))
    #expect(response.status == 200)
    #expect(response.headers[.contentLength] == "19")
    #expect(response.body.isEmpty)
  }

  @Test("requests one after another share a connection, also after an error status")
  func keepAlive() async throws {
    let server = try await TestServer.shared()
    let client = makeClient()
    var ports: Set<Int> = []
    for path in ["/port", "/status/500", "/port", "/port"] {
      let object = try await client.send(HTTPClientRequest(url: server.http + path), deadline: nil)
        .object
      if let port = object["port"] as? Int { ports.insert(port) }
    }
    #expect(ports.count == 1)
  }

  @Test("a hundred requests at once end well over a few connections")
  func concurrent() async throws {
    let server = try await TestServer.shared()
    let client = makeClient(HTTPClientConfiguration(maxConnectionsPerHost: 4))
    let ports = try await withThrowingTaskGroup(of: Int.self) { group in
      for _ in 0..<100 {
        group.addTask {
          try await client.send(HTTPClientRequest(url: server.http + "/port"), deadline: nil)
            .object["port"] as? Int ?? 0
        }
      }
      return try await group.reduce(into: Set<Int>()) { $0.insert($1) }
    }
    #expect((1...4).contains(ports.count))
  }

  @Test("a Unix socket is used instead of the URL's host")
  func unixSocket() async throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("s")
    let server = try await TestServer.start(["--unix", path])
    let response = try await makeClient().send(
      HTTPClientRequest(url: "http://node/echo", unixSocket: path), deadline: .seconds(20))
    #expect((try response.object["headers"] as? [String: String])?["host"] == "node")
    withExtendedLifetime(server) {}
  }

  @Test("a redirect is a response unless redirects are asked for, and then only so many")
  func redirects() async throws {
    let server = try await TestServer.shared()
    let client = makeClient()
    var request = HTTPClientRequest(url: server.http + "/redirect/2")
    #expect(try await client.send(request, deadline: nil).status == 302)
    request.maxRedirects = 3
    let followed = try await client.send(request, deadline: nil)
    #expect(followed.status == 200)
    #expect(followed.headers[.location] == nil)
    request.maxRedirects = 2
    #expect(await kind { _ = try await client.send(request, deadline: nil) } == .redirect)
    request.url = server.http + "/redirect/0?to=ftp://127.0.0.1/x"
    #expect(await kind { _ = try await client.send(request, deadline: nil) } == .redirect)
    request.method = .post
    #expect(try await client.send(request, deadline: nil).status == 302)
  }

  @Test(
    "a URL that cannot be sent is refused before anything is sent",
    arguments: [
      "ftp://127.0.0.1/", "/relative", "http://", "http://user:secret@127.0.0.1/",
      "http://127.0.0.1/a b",
      "http://127.0.0.1:99999/",
    ])
  func badURL(url: String) async throws {
    do {
      _ = try await makeClient().send(HTTPClientRequest(url: url), deadline: .seconds(20))
      Issue.record("it was sent")
    } catch {
      #expect(error.kind == .invalidRequest)
      #expect(!error.description.contains("secret"))
    }
  }
}

@Suite("HTTPClient: failures")
struct FailureTests {
  @Test("nobody listens: the kind is connect and the message names the origin but not the path")
  func refused() async throws {
    // Port 1 on loopback: nothing of this test binds a privileged port.
    do {
      _ = try await makeClient().send(
        HTTPClientRequest(url: "http://127.0.0.1:1/path?token=secret"), deadline: .seconds(20))
      Issue.record("connected to port 1")
    } catch {
      #expect(error.kind == .connect)
      #expect(error.happenedBeforeSending)
      #expect(error.description.contains("http://127.0.0.1:1"))
      #expect(!error.description.contains("secret"))
    }
  }

  @Test("an unknown host name is a resolve error")
  func resolve() async throws {
    let kind = await kind {
      _ = try await makeClient().send(
        HTTPClientRequest(url: "http://no-such-host.invalid/"), deadline: .seconds(30))
    }
    #expect(kind == .resolve)
  }

  @Test("the deadline ends a request that gets no answer, and the server sees the connection close")
  func deadline() async throws {
    let server = try await TestServer.shared()
    let client = makeClient()
    #expect(
      await kind {
        _ = try await client.send(
          HTTPClientRequest(url: server.http + "/hang?name=deadline"), deadline: .milliseconds(200))
      } == .timeout)
    try await eventually("deadline is gone") { try await isGone("deadline", server) }
  }

  @Test("the deadline also counts while a request waits for a free connection")
  func deadlineWhileQueued() async throws {
    let server = try await TestServer.shared()
    let client = makeClient(HTTPClientConfiguration(maxConnectionsPerHost: 1))
    let first = Task {
      try await client.send(
        HTTPClientRequest(url: server.http + "/hang?name=queue"), deadline: .seconds(60))
    }
    try await eventually("queue has started") { try await hasStarted("queue", server) }
    #expect(
      await kind {
        _ = try await client.send(
          HTTPClientRequest(url: server.http + "/port"), deadline: .milliseconds(100))
      } == .timeout)
    first.cancel()
    _ = await first.result
  }

  @Test("cancelling the task ends the wait as cancelled and closes the connection")
  func cancellation() async throws {
    let server = try await TestServer.shared()
    let client = makeClient()
    let task = Task {
      try await client.send(
        HTTPClientRequest(url: server.http + "/hang?name=cancel"), deadline: nil)
    }
    try await eventually("cancel has started") { try await hasStarted("cancel", server) }
    task.cancel()
    #expect(await kind { _ = try await task.value } == .cancelled)
    try await eventually("cancel is gone") { try await isGone("cancel", server) }
    let late = Task {
      withUnsafeCurrentTask { $0?.cancel() }
      return try await client.send(HTTPClientRequest(url: server.http + "/port"), deadline: nil)
    }
    #expect(await kind { _ = try await late.value } == .cancelled)
  }

  @Test("closing the client ends what is under way and refuses what comes later")
  func close() async throws {
    let server = try await TestServer.shared()
    let client = makeClient()
    let task = Task {
      try await client.send(HTTPClientRequest(url: server.http + "/hang?name=close"), deadline: nil)
    }
    try await eventually("close has started") { try await hasStarted("close", server) }
    client.close()
    #expect(await kind { _ = try await task.value } == .closed)
    #expect(
      await kind {
        _ = try await client.send(HTTPClientRequest(url: server.http + "/port"), deadline: nil)
      } == .closed)
    try await eventually("close is gone") { try await isGone("close", server) }
  }

  @Test("a silent peer ends a stream by its idle timeout, after the bytes that came")
  func idle() async throws {
    let server = try await TestServer.shared()
    let response = try await makeClient().stream(
      HTTPClientRequest(url: server.http + "/silent", idleTimeout: .milliseconds(900)))
    var bytes: [UInt8] = []
    #expect(await kind { for try await chunk in response.body { bytes += chunk } } == .timeout)
    #expect(bytes == pattern(count: 10))
  }

  @Test("what the peer does wrong has its own kinds")
  func brokenPeers() async throws {
    let server = try await TestServer.shared()
    let client = makeClient()
    func get(_ path: String) async -> HTTPClientError.Kind? {
      await kind {
        _ = try await client.send(
          HTTPClientRequest(url: server.http + path), deadline: .seconds(30))
      }
    }
    #expect(await get("/cut") == .connectionLost)
    #expect(await get("/garbage") == .protocolError)
    #expect(await get("/hugeheader") == .tooLarge)
    #expect(
      await kind {
        _ = try await client.send(
          HTTPClientRequest(url: server.http + "/bytes?count=1001"), deadline: nil,
          maxBodyBytes: 1000)
      } == .tooLarge)
    let whole = try await client.send(
      HTTPClientRequest(url: server.http + "/bytes?count=1000"), deadline: nil, maxBodyBytes: 1000)
    #expect(whole.body == pattern(count: 1000))
  }
}

/// What the server knows of a named request: bytes it sent, and whether the client is gone (null: not seen yet).
func state(_ name: String, _ server: TestServer) async throws -> [String: Any] {
  try await makeClient().send(
    HTTPClientRequest(url: server.http + "/sent?name=\(name)"), deadline: nil
  ).object
}

func isGone(_ name: String, _ server: TestServer) async throws -> Bool {
  try await state(name, server)["gone"] as? Bool == true
}

func hasStarted(_ name: String, _ server: TestServer) async throws -> Bool {
  try await state(name, server)["gone"] as? Bool == false
}
