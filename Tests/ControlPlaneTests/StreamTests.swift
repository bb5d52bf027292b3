import AloftModel
import Crypto
import Execution
import Foundation
import HTTPClient
import HTTPTypes
import JSON
import TestSupport
import Testing

@testable import ControlPlane

/// What streams, over sockets and TLS.
@Suite("Streams")
struct StreamTests {
  @Test("a follower gets where it stands at once, then each event as it happens, and resumes where it was")
  func events() async throws {
    try await TestPlane.with(background: true) { test async throws in
      try await test.withServer { reach async throws in
        let stream = try await reach.client.events(test.request("/v1/events", of: reach))
        var events = stream.makeAsyncIterator()
        let position = try #require(try await events.next())
        #expect(position.event == "position")
        #expect(position.data == "{}")
        try await test.makeImage()
        #expect(try await events.next()?.event == "image.created")
        let ready = try #require(try await events.next())
        #expect(ready.event == "image.ready")
        #expect(try JSONValue.parse(ready.data)["cursor"]?.stringValue == ready.id)

        // Back from before the first event: nothing is lost.
        var headers = HTTPFields()
        headers[try #require(HTTPField.Name("Last-Event-ID"))] = position.id
        let again = try await reach.client.events(
          test.request("/v1/events?follow=false", of: reach, headers: headers))
        var kinds: [String] = []
        for try await event in again { kinds.append(event.event) }
        #expect(kinds == ["position", "image.created", "image.ready"])
      }
    }
  }

  @Test("an event of one replica reaches a follower of another")
  func replicas() async throws {
    try await TestPlane.with(background: true, poolSize: 4) { test async throws in
      let other = try test.replica()
      try await test.withServer { reach async throws in
        let stream = try await reach.client.events(test.request("/v1/events", of: reach))
        var events = stream.makeAsyncIterator()
        #expect(try await events.next()?.event == "position")
        let created = await test.call(.post, "/v1/images", ["name": "tiny"], on: other)
        #expect(created.status == 201)
        #expect(try await events.next()?.event == "image.created")
      }
    }
  }

  @Test("a followed serial log comes as the agent sends it, and ends with it")
  func serialLog() async throws {
    try await TestPlane.with(background: true, poolSize: 4) { test async throws in
      try await test.makeImage()
      try await test.withServer { reach async throws in
        let secret = await test.call(.post, "/v1/node-tokens", ["description": "x"])["secret"]?.stringValue
        let key = P256.Signing.PrivateKey()
        let answer = try await FakeAgent.join(test, "node-a", token: try #require(secret), key: key)
        let joined = try JSONCoder.decode(JoinAnswer.self, from: answer.bytes)
        let agent = try reach.client(certificate: joined.certificate, key: key)
        defer { agent.close() }
        _ = try await test.createVM("web")

        async let log = reach.client.stream(
          test.request("/v1/vms/web/serial-log?offset=3&follow=true", of: reach))
        let wish = try await poll(agent, reach)
        #expect(wish.offset == 3)
        #expect(wish.follow)

        let start = try #require(HTTPField.Name("X-Log-Start"))
        let (more, proceed) = AsyncStream.makeStream(of: Void.self)
        var headers = HTTPFields()
        headers[start] = "3"
        let upload = HTTPClientRequest(
          method: .post, url: reach.url + "/agent/v1/streams/\(wish.id)", headers: headers,
          body: .produced(length: nil) { writer in
            try await writer.write(Array("first".utf8))
            for await _ in more {}
            try await writer.write(Array("second".utf8))
          })
        async let sent = agent.send(upload, deadline: nil)
        let response = try await log
        #expect(response.status == 200)
        #expect(response.headers[start] == "3")
        var bytes = response.body.makeAsyncIterator()
        var text = String(decoding: try await bytes.next() ?? [], as: UTF8.self)
        #expect(text == "first", "what is written is sent at once")
        proceed.finish()
        while let chunk = try await bytes.next() { text += String(decoding: chunk, as: UTF8.self) }
        #expect(text == "firstsecond")
        #expect(try await sent.status == 204)
      }
    }
  }

  @Test("a followed serial log breaks off when the reader's token is revoked")
  func serialLogRevoked() async throws {
    try await TestPlane.with(background: true, poolSize: 4) { test async throws in
      try await test.makeImage()
      try await test.withServer { reach async throws in
        let secret = await test.call(.post, "/v1/node-tokens", ["description": "x"])["secret"]?.stringValue
        let key = P256.Signing.PrivateKey()
        let answer = try await FakeAgent.join(test, "node-a", token: try #require(secret), key: key)
        let joined = try JSONCoder.decode(JoinAnswer.self, from: answer.bytes)
        let agent = try reach.client(certificate: joined.certificate, key: key)
        defer { agent.close() }
        _ = try await test.createVM("web")
        let token = try await test.issue()
        async let log = reach.client.stream(
          HTTPClientRequest(
            url: reach.url + "/v1/vms/web/serial-log?follow=true",
            headers: [.authorization: "Bearer \(token.secret)"]))
        let wish = try await poll(agent, reach)
        let (more, proceed) = AsyncStream.makeStream(of: Void.self)
        defer { proceed.finish() }
        let upload = HTTPClientRequest(
          method: .post, url: reach.url + "/agent/v1/streams/\(wish.id)",
          body: .produced(length: nil) { writer in
            try await writer.write(Array("first".utf8))
            for await _ in more {}
          })
        let sent = Task { try await agent.send(upload, deadline: nil) }
        var bytes = try await log.body.makeAsyncIterator()
        #expect(String(decoding: try await bytes.next() ?? [], as: UTF8.self) == "first")
        #expect(await test.call(.delete, "/v1/tokens/\(token.id)").status == 204)
        await #expect(throws: (any Error).self) { while try await bytes.next() != nil {} }
        sent.cancel()
        _ = try? await sent.value
      }
    }
  }

  @Test("who loses the role in the cloud goes on with the project's events, without those of nodes and users")
  func narrower() async throws {
    try await TestPlane.with(background: true, poolSize: 4) { test async throws in
      let user = try await test.makeUser("ada", cloudRole: .auditor)
      #expect(await test.call(.put, "/v1/projects/default/members/ada", ["role": "viewer"]).status == 201)
      let token = try await test.issue(["user": "ada"])
      try await test.withServer { reach async throws in
        let stream = try await reach.client.events(
          HTTPClientRequest(url: reach.url + "/v1/events", headers: [.authorization: "Bearer \(token.secret)"]))
        var events = stream.makeAsyncIterator()
        #expect(try await events.next()?.event == "position")
        // One of the cloud, one of the project: whether the first is seen.
        func seesCloud(_ number: Int) async throws -> Bool {
          _ = await test.call(.post, "/v1/node-tokens", [:])
          _ = await test.call(.post, "/v1/images", ["name": .string("image-\(number)")])
          var seen = false
          while let event = try await events.next(), event.event != "image.created" {
            seen = seen || event.event == "node_token.created"
          }
          return seen
        }
        #expect(try await seesCloud(0))
        #expect(await test.call(.patch, "/v1/users/\(user)", ["cloud_role": .null]).status == 200)
        var number = 0
        try await eventually("only the project's events come") {
          number += 1
          return try await !seesCloud(number)
        }
      }
    }
  }

  /// Polls as the node until somebody wants a stream.
  private func poll(_ agent: HTTPClient, _ reach: TestPlane.Reach) async throws -> StreamRequest {
    let found = Lock<StreamRequest?>(nil)
    try await eventually("the agent is asked for the log") {
      let answer = try await agent.send(
        HTTPClientRequest(url: reach.url + "/agent/v1/assignments?after=1000&wait=5"), deadline: .seconds(30))
      let assignments = try JSONCoder.decode(Assignments.self, from: answer.body)
      found.withLock { $0 = assignments.streams.first }
      return assignments.streams.first != nil
    }
    return try #require(found.withLock { $0 })
  }
}
