import AloftModel
import ControlPlane
import Execution
import Foundation
import HTTP
import HTTPClient
import HTTPTypes
import JSON
import Postgres
import TestSupport
import Testing

/// Targets that mean no good, and replicas that die.
@Suite("Webhooks: targets and replicas")
struct WebhookTargetTests {
  /// The only delivery of a ping to `url`, after one attempt.
  private func ping(_ test: TestPlane, _ url: String, name: String = "hook") async throws -> JSONValue {
    try await test.makeWebhook(name, to: url)
    #expect(await test.call(.post, "/v1/webhooks/\(name)/ping").status == 202)
    try await test.sendWebhooks()
    return try #require(await test.call(.get, "/v1/webhooks/\(name)/deliveries")["items"]?[0])
  }

  @Test("a target that never answers is left after the time for an attempt, and holds up no other")
  func silent() async throws {
    var settings = OutgoingSettings.loopback
    settings.webhookDeadline = .milliseconds(500)
    try await WebhookTarget.with(answer: { _, _ in
      await WebhookTarget.hang()
      return .init()
    }) { dead async throws in
      try await WebhookTarget.with { good async throws in
        try await TestPlane.with(outgoing: settings) { test async throws in
          try await test.makeWebhook("good", to: good.url)
          for _ in 0..<10 { #expect(await test.call(.post, "/v1/webhooks/good/ping").status == 202) }
          try await test.makeWebhook("dead", to: dead.url)
          for _ in 0..<10 { #expect(await test.call(.post, "/v1/webhooks/dead/ping").status == 202) }
          async let sending: Void = test.sendWebhooks()
          try await eventually("the good one has all") { good.received.count == 10 }
          try await sending
          let failed = await test.call(.get, "/v1/webhooks/dead/deliveries")["items"]?.arrayValue ?? []
          let tried = failed.filter { $0["attempts"] != 0 }
          #expect(tried.allSatisfy { $0["error"]?["code"] == "timed_out" })
          #expect(failed.allSatisfy { $0["state"] == "pending" })
          // Four were under way before anything was known about it; since then one at a time.
          #expect((1...6).contains(tried.count), "\(tried.count)")
        }
      }
    }
  }

  @Test("Prefer: wait answers a ping and a redelivery when they have been tried")
  func waiting() async throws {
    try await WebhookTarget.with { target async throws in
      try await TestPlane.with(background: true, outgoing: .loopback) { test async throws in
        try await test.makeWebhook("hook", to: target.url)
        let pinged = await test.call(.post, "/v1/webhooks/hook/ping", headers: ["Prefer": "wait=30"])
        #expect(pinged.status == 200 && pinged["state"] == "delivered", "\(pinged)")
        #expect(pinged.header("Preference-Applied") == "wait=30")
        let id = try #require(pinged["id"]?.stringValue)
        let again = await test.call(
          .post, "/v1/webhooks/hook/deliveries/\(id)/redeliver", headers: ["Prefer": "wait=30"])
        #expect(again.status == 200 && again["attempts"] == 2, "\(again)")
      }
    }
  }

  @Test("a target that answers without end has its answer cut off")
  func endless() async throws {
    let block = [UInt8](repeating: 0x61, count: 64 << 10)
    try await WebhookTarget.with(answer: { _, _ in
      .init(body: .stream { writer in while true { try await writer.write(block) } })
    }) { target async throws in
      try await TestPlane.with(outgoing: .loopback) { test async throws in
        let delivery = try await ping(test, target.url)
        #expect(delivery["state"] == "delivered")
        #expect(delivery["response"]?.stringValue?.utf8.count == 1_024)
      }
    }
  }

  @Test("a redirect is not followed, wherever it leads", arguments: [301, 302, 303, 307, 308])
  func redirect(status: Int) async throws {
    try await WebhookTarget.with { inner async throws in
      let location = inner.url
      try await WebhookTarget.with(answer: { _, _ in
        .init(status: .init(code: status), headers: [.location: location])
      }) { target async throws in
        try await TestPlane.with(outgoing: .loopback) { test async throws in
          let delivery = try await ping(test, target.url)
          #expect(delivery["state"] == "pending")
          #expect(delivery["error"]?["code"] == "redirected")
          #expect(delivery["status"]?.intValue == status)
          #expect(inner.received.isEmpty)
        }
      }
    }
  }

  @Test("a name that leads to this machine is refused when it is connected to, and says nothing of the address")
  func name() async throws {
    try await WebhookTarget.with { target async throws in
      try await TestPlane.with(outgoing: OutgoingSettings(allowsHTTP: true)) { test async throws in
        let delivery = try await ping(test, "http://localhost:\(target.port)/hook")
        #expect(delivery["state"] == "pending")
        #expect(delivery["error"]?["code"] == "address_refused")
        #expect(delivery["status"] == .null)
        #expect(delivery["error"]?["detail"]?.stringValue?.contains("127.") == false)
        #expect(target.received.isEmpty)
      }
    }
  }

  @Test("what the operator allowed when a webhook was made may be refused later; what is not there is told apart")
  func otherFailures() async throws {
    try await TestPlane.with(outgoing: .loopback) { test async throws in
      let closed = try await ping(test, "http://127.0.0.1:1/", name: "closed")
      #expect(closed["error"]?["code"] == "connect_failed")
      let nowhere = try await ping(test, "http://nowhere.invalid/", name: "nowhere")
      #expect(nowhere["error"]?["code"] == "name_unresolved")
      _ = try await test.database.query("UPDATE webhooks SET url = 'https://10.0.0.1/' WHERE name = 'closed'")
      try await test.skipWebhookPauses()
      try await test.sendWebhooks()
      let refused = await test.call(.get, "/v1/webhooks/closed/deliveries")["items"]?[0]
      #expect(refused?["error"]?["code"] == "url_refused")
      _ = try await test.database.query("UPDATE webhooks SET secret = '\\x00' WHERE name = 'nowhere'")
      try await test.skipWebhookPauses()
      try await test.sendWebhooks()
      let unreadable = await test.call(.get, "/v1/webhooks/nowhere/deliveries")["items"]?[0]
      #expect(unreadable?["error"]?["code"] == "secret_unreadable")
    }
  }

  @Test("https needs a certificate that is trusted")
  func tls() async throws {
    try await TestPlane.with(outgoing: .loopback) { test async throws in
      try await test.withServer { reach async throws in
        let delivery = try await ping(test, reach.url + "/v1/whoami")
        #expect(delivery["error"]?["code"] == "tls_failed", "\(delivery)")
      }
    }
  }

  @Test("two replicas that run deliver every event once")
  func replicas() async throws {
    try await WebhookTarget.with { target async throws in
      try await TestPlane.with(background: true, poolSize: 4, outgoing: .loopback) { test async throws in
        let second = try test.replica()
        let running = Task { await second.run() }
        let (_, secret) = try await test.makeWebhook(to: target.url, events: ["image.created"])
        for number in 0..<40 {
          let replica = number % 2 == 0 ? test.plane : second
          let made = await test.call(.post, "/v1/images", ["name": .string("image-\(number)")], on: replica)
          #expect(made.status == 201, "\(made)")
        }
        try await eventually("all have come", within: .seconds(60)) {
          try await test.count("SELECT count(*) FROM webhook_deliveries WHERE state = 'delivered'") == 40
        }
        #expect(target.received.count == 40)
        #expect(Set(target.received.map(\.id)).count == 40)
        #expect(Set(target.received.compactMap { $0.json["data"]?["name"]?.stringValue }).count == 40)
        #expect(target.received.allSatisfy { $0.isSigned(with: secret) })
        running.cancel()
        await running.value
      }
    }
  }

  @Test("what a replica was sending when it died is sent by another when the lease has ended")
  func deadReplica() async throws {
    try await WebhookTarget.with(answer: { _, before in
      if before == 0 { await WebhookTarget.hang() }
      return .init()
    }) { target async throws in
      try await TestPlane.with(poolSize: 4, outgoing: .loopback) { test async throws in
        let second = try test.replica()
        try await test.makeWebhook(to: target.url)
        let ping = await test.call(.post, "/v1/webhooks/hook/ping")
        let dying = Task { try await test.plane.stepWebhookSender() }
        try await eventually("it is being sent") { target.received.count == 1 }
        dying.cancel()
        _ = try? await dying.value
        #expect(try await second.stepWebhookSender() == 0, "the lease holds")
        _ = try await test.database.query("UPDATE work SET lease_until = aloft_now() - interval '1 second'")
        #expect(try await second.stepWebhookSender() == 1)
        #expect(target.received.map(\.id) == [ping["id"]?.stringValue, ping["id"]?.stringValue])
        let done = await test.call(.get, "/v1/webhooks/hook/deliveries")["items"]?[0]
        #expect(done?["state"] == "delivered")
        #expect(done?["attempts"] == 1, "nobody knows of the first")
        #expect(try await test.findings() == [])
      }
    }
  }

  @Test("a webhook can be deleted while something is sent to it")
  func deleted() async throws {
    let gate = AsyncStream<Void>.makeStream()
    let waiting = Lock(gate.stream)
    try await WebhookTarget.with(answer: { _, _ in
      for await _ in waiting.withLock({ $0 }) {}
      return .init()
    }) { target async throws in
      try await TestPlane.with(poolSize: 4, outgoing: .loopback) { test async throws in
        try await test.makeWebhook(to: target.url)
        _ = await test.call(.post, "/v1/webhooks/hook/ping")
        async let sending = test.plane.stepWebhookSender()
        try await eventually("it is being sent") { target.received.count == 1 }
        #expect(await test.call(.delete, "/v1/webhooks/hook").status == 204)
        gate.continuation.finish()
        #expect(try await sending == 1)
        #expect(try await test.count("SELECT count(*) FROM webhook_deliveries") == 0)
        #expect(try await test.count("SELECT count(*) FROM work WHERE kind = 'webhook'") == 0)
        #expect(try await test.findings() == [])
      }
    }
  }

  @Test("a database that was restored from a dump, whose cursor is of another server, starts anew")
  func restored() async throws {
    try await WebhookTarget.with { target async throws in
      try await TestPlane.with(outgoing: .loopback) { test async throws in
        try await test.makeWebhook(to: target.url, events: ["image.created"])
        _ = try await test.database.query("UPDATE webhook_cursor SET xid = '900000000000', seq = 7")
        _ = try await test.database.query("UPDATE webhooks SET since = '900000000000:900000000000:'")
        try await test.plane.stepWebhookDispatcher()
        _ = await test.call(.post, "/v1/images", ["name": "new"])
        #expect(try await test.deliveries(atLeast: 1).count == 1)
      }
    }
  }

  @Test("while nobody wants events the cursor follows them; the first webhook gets what comes after it")
  func skipped() async throws {
    try await WebhookTarget.with { target async throws in
      try await TestPlane.with(outgoing: .loopback) { test async throws in
        try await test.makeImage()
        try await eventually("the cursor has followed") {
          try await test.plane.stepWebhookDispatcher()
          return try await test.count(
            """
            SELECT count(*) FROM webhook_cursor c
             WHERE (c.xid, c.seq) = (SELECT xid, seq FROM events ORDER BY xid DESC, seq DESC LIMIT 1)
            """) == 1
        }
        try await test.makeWebhook(to: target.url, events: ["image.*"])
        _ = await test.call(.post, "/v1/images", ["name": "new"])
        #expect(try await test.deliveries(atLeast: 1).count == 1)
      }
    }
  }
}
