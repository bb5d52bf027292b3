import AloftModel
import Foundation
import JSON
import Postgres
import TestSupport
import Testing

@testable import ControlPlane

@Suite("Webhooks")
struct WebhookTests {
  @Test("a webhook shows its secret once, is renamed, filtered, disabled and deleted, and leaves events")
  func nouns() async throws {
    try await TestPlane.with(outgoing: .loopback) { test async throws in
      let made = await test.call(
        .post, "/v1/webhooks",
        ["name": "billing", "url": "https://billing.example/aloft", "labels": ["team": "money"]],
        headers: ["Idempotency-Key": "k1"])
      #expect(made.status == 201, "\(made)")
      let id = try #require(made["id"]?.stringValue)
      let secret = try #require(made["secret"]?.stringValue)
      #expect(made.header("Location") == "/v1/webhooks/\(id)")
      #expect(made["events"] == ["*"])
      let shown = await test.call(.get, "/v1/webhooks/billing")
      #expect(shown["secret"] == nil)
      #expect(shown["enabled"] == true)
      #expect(await test.call(.get, "/v1/webhooks?label=team%3Dmoney")["items"]?.arrayValue?.count == 1)
      // The database holds it sealed, the audit not at all.
      let bytes = try #require(Data(base64Encoded: String(secret.dropFirst(6))))
      #expect(
        try await test.count("SELECT count(*) FROM webhooks WHERE position(\([UInt8](bytes)) IN secret) > 0") == 0)
      #expect(try await test.count("SELECT count(*) FROM audit WHERE request::text LIKE '%whsec%'") == 0)
      let changed = await test.call(
        .patch, "/v1/webhooks/\(id)", ["name": "money", "events": ["vm.*"], "enabled": false],
        headers: ["If-Match": try #require(shown.header("ETag"))])
      #expect(changed.status == 200, "\(changed)")
      #expect(changed["disabled_reason"] == "user")
      #expect(
        await test.call(.patch, "/v1/webhooks/money", ["enabled": true], headers: ["If-Match": "\"1\""]).code
          == "precondition_failed")
      #expect(await test.call(.post, "/v1/webhooks/money/ping").code == "wrong_state")
      #expect(await test.call(.patch, "/v1/webhooks/money", ["enabled": true])["disabled_reason"] == .null)
      #expect(await test.call(.delete, "/v1/webhooks/money?dry_run=true").status == 204)
      #expect(await test.call(.delete, "/v1/webhooks/money").status == 204)
      #expect(await test.call(.get, "/v1/webhooks/\(id)").status == 404)
      let uuid = try #require(WebhookID(id)).uuid
      #expect(
        try await test.eventKinds(uuid) == [
          "webhook.created", "webhook.updated", "webhook.updated", "webhook.deleted",
        ])
      #expect(try await test.findings() == [])
    }
  }

  @Test("what cannot work is refused with its code and place")
  func refusals() async throws {
    try await TestPlane.with { test async throws in
      func refusal(_ body: JSONValue) async -> [String?] {
        let answer = await test.call(.post, "/v1/webhooks", body)
        return [answer.code, answer.place]
      }
      for url in ["https://a:b@host.example/", "https://host.example:0/", "https://host.example/#x"] {
        #expect(await refusal(["name": "x", "url": .string(url)]) == ["bad_format", "/url"], "\(url)")
      }
      for url in [
        "http://host.example/", "https://127.0.0.1/", "https://169.254.169.254/x", "https://[::1]/",
        "https://2130706433/",
        "https://10.0.0.1:8443/v1/vms", "https://[fd00:ec2::254]/",
      ] {
        #expect(await refusal(["name": "x", "url": .string(url)]) == ["url_refused", "/url"], "\(url)")
      }
      let events: JSONValue = ["name": "x", "url": "https://host.example/", "events": ["vm.*", "vm.melted"]]
      #expect(await refusal(events) == ["not_one_of", "/events/1"])
      let good: JSONValue = ["name": "x", "url": "https://host.example/"]
      #expect(await refusal(good) == [nil, nil])
      #expect(await refusal(good) == ["name_taken", "/name"])
      let patched = await test.call(.patch, "/v1/webhooks/x", ["url": "https://192.168.0.1/"])
      #expect(patched.code == "url_refused")
      #expect(await test.call(.get, "/v1/webhooks/x/deliveries/nonsense").status == 400)
      #expect(await test.call(.get, "/v1/webhooks/x/deliveries/\(WebhookDeliveryID(UUID()))").code == "not_found")
      for number in 1..<20 {
        #expect(await refusal(["name": .string("x\(number)"), "url": "https://host.example/"]) == [nil, nil])
      }
      #expect(await refusal(["name": "onemore", "url": "https://host.example/"]) == ["limit_reached", nil])
    }
  }

  @Test("an event is delivered as the event stream shows it, signed, and the log says how it went")
  func delivered() async throws {
    try await WebhookTarget.with(answer: { _, _ in .init(contentType: "text/plain", body: Array("thanks".utf8)) }) {
      target async throws in
      try await TestPlane.with(outgoing: .loopback) { test async throws in
        try await test.makeProjectRow("elsewhere")
        try await test.makeImage("before")
        let (id, secret) = try await test.makeWebhook(to: target.url, events: ["image.*", "webhook.*"])
        try await test.makeWebhook("other", to: target.url, project: "elsewhere")
        try await test.makeImage("after")
        try await test.deliveries(atLeast: 2)
        try await test.sendWebhooks()
        let deliveries = try await test.deliveries(atLeast: 2)
        // Neither what came before, nor its own making, nor other projects'.
        #expect(target.received.count == 2)
        #expect(Set(target.kinds) == ["image.created", "image.ready"])
        for received in target.received {
          #expect(received.path == "/hook")
          #expect(received.isSigned(with: secret))
          #expect(!received.isSigned(with: "whsec_" + Data(count: 32).base64EncodedString()))
          #expect(received.header("content-type") == "application/json")
          let stored = try await test.database.one(
            "SELECT xid::text || '-' || seq FROM events WHERE kind = \(received.kind) ORDER BY xid DESC LIMIT 1")
          #expect(received.json["cursor"]?.stringValue == (try stored?.get(0, as: String.self)))
          let delivery = try #require(deliveries.first { $0["id"]?.stringValue == received.id })
          #expect(delivery["event"] == received.json)
          #expect(delivery["webhook_id"]?.stringValue == id)
          #expect(delivery["state"] == "delivered")
          #expect(delivery["attempts"] == 1)
          #expect(delivery["status"] == 200)
          #expect(delivery["response"] == "thanks")
          #expect(delivery["error"] == .null)
          #expect(delivery["next_attempt_at"] == .null)
          #expect(await test.call(.get, "/v1/webhooks/hook/deliveries/\(received.id)").json == delivery)
        }
        let first = await test.call(.get, "/v1/webhooks/hook/deliveries?limit=1")
        let cursor = try #require(first["next_cursor"]?.stringValue)
        let second = await test.call(.get, "/v1/webhooks/hook/deliveries?limit=1&cursor=\(cursor)")
        #expect(second["next_cursor"] == .null)
        #expect([first, second].flatMap { $0["items"]?.arrayValue ?? [] } == deliveries.reversed())
        #expect(await test.call(.get, "/v1/webhooks/hook/deliveries?state=failed")["items"] == [])
        #expect(try await test.count("SELECT count(*) FROM work WHERE kind = 'webhook'") == 0)
        #expect(try await test.findings() == [])
      }
    }
  }

  @Test("what fails is sent again later with the same id and body, until the target takes it")
  func retried() async throws {
    try await WebhookTarget.with(answer: { _, before in .init(status: before < 2 ? .internalServerError : .ok) }) {
      target async throws in
      try await TestPlane.with(outgoing: .loopback) { test async throws in
        let (_, secret) = try await test.makeWebhook(to: target.url, events: ["image.created"])
        _ = await test.call(.post, "/v1/images", ["name": "one"])
        try await test.deliveries(atLeast: 1)
        try await test.sendWebhooks()
        let failed = try #require(try await test.deliveries(atLeast: 1).first)
        #expect(failed["state"] == "pending")
        #expect(failed["error"]?["code"] == "status_refused")
        #expect(failed["status"] == 500)
        #expect(failed["next_attempt_at"]?.stringValue != nil)
        #expect(await test.call(.get, "/v1/webhooks/hook")["failing_since"]?.stringValue != nil)
        #expect(target.received.count == 1, "it waits")
        for _ in 0..<2 {
          try await test.skipWebhookPauses()
          try await test.sendWebhooks()
        }
        let done = try #require(try await test.deliveries(atLeast: 1).first)
        #expect(done["state"] == "delivered")
        #expect(done["attempts"] == 3)
        #expect(target.received.count == 3)
        #expect(Set(target.received.map(\.id)).count == 1)
        #expect(Set(target.received.map(\.body)).count == 1)
        #expect(target.received.allSatisfy { $0.isSigned(with: secret) })
        #expect(await test.call(.get, "/v1/webhooks/hook")["failing_since"] == .null)
        #expect(try await test.findings() == [])
      }
    }
  }

  @Test("nothing is given up before its day is over, and then it is")
  func givenUp() async throws {
    try await WebhookTarget.with(answer: { _, _ in .init(status: .badGateway) }) { target async throws in
      try await TestPlane.with(outgoing: .loopback) { test async throws in
        try await test.makeWebhook(to: target.url, events: ["image.created"])
        for name in ["one", "two"] { _ = await test.call(.post, "/v1/images", ["name": .string(name)]) }
        try await test.deliveries(atLeast: 2)
        for _ in 0..<20 {
          try await test.sendWebhooks()
          try await test.skipWebhookPauses()
        }
        #expect(try await test.deliveries(atLeast: 2).allSatisfy { $0["state"] == "pending" })
        _ = try await test.database.query("UPDATE webhook_deliveries SET expires_at = aloft_now() WHERE tries > 0")
        try await test.sendWebhooks()
        let given = try await test.deliveries(atLeast: 2)
        #expect(given.allSatisfy { $0["state"] == "failed" }, "\(given)")
        #expect(given.allSatisfy { $0["error"]?["code"] == "status_refused" })
        #expect(try await test.count("SELECT count(*) FROM work WHERE kind = 'webhook'") == 0)
      }
    }
  }

  @Test(
    "a target that failed for three days is disabled with an event, and gets what happens after it is enabled again")
  func disabled() async throws {
    try await WebhookTarget.with(answer: { request, _ in
      .init(status: request.json["data"]?["name"] == "bad" ? .internalServerError : .ok)
    }) { target async throws in
      try await TestPlane.with(outgoing: .loopback) { test async throws in
        let (id, _) = try await test.makeWebhook(to: target.url, events: ["image.created"])
        _ = await test.call(.post, "/v1/images", ["name": "bad"])
        let first = try #require(try await test.deliveries(atLeast: 1).first?["id"]?.stringValue)
        try await test.sendWebhooks()
        _ = try await test.database.query("UPDATE webhooks SET failing_since = failing_since - interval '3 days'")
        try await test.skipWebhookPauses()
        try await test.sendWebhooks()
        let hook = await test.call(.get, "/v1/webhooks/hook")
        #expect(hook["enabled"] == false)
        #expect(hook["disabled_reason"] == "failing")
        let uuid = try #require(WebhookID(id)).uuid
        #expect(try await test.eventKinds(uuid).last == "webhook.disabled")
        // Nothing is sent, nothing is made for it.
        try await test.skipWebhookPauses()
        try await test.sendWebhooks()
        #expect(target.received.count == 2)
        #expect(await test.call(.post, "/v1/webhooks/hook/deliveries/\(first)/redeliver").code == "wrong_state")
        _ = await test.call(.post, "/v1/images", ["name": "missed"])
        _ = await test.call(.patch, "/v1/webhooks/hook", ["enabled": true])
        _ = await test.call(.post, "/v1/images", ["name": "seen"])
        let deliveries = try await test.deliveries(atLeast: 2)
        #expect(deliveries.count == 2)
        try await test.sendWebhooks()
        let names = Set(target.received.compactMap { $0.json["data"]?["name"]?.stringValue })
        #expect(names == ["bad", "seen"])
        #expect(try await test.findings() == [])
      }
    }
  }

  @Test("a target that answers 410 gets nothing more")
  func gone() async throws {
    try await WebhookTarget.with(answer: { _, _ in .init(status: .gone) }) { target async throws in
      try await TestPlane.with(outgoing: .loopback) { test async throws in
        try await test.makeWebhook(to: target.url)
        #expect(await test.call(.post, "/v1/webhooks/hook/ping").status == 202)
        try await test.sendWebhooks()
        #expect(await test.call(.get, "/v1/webhooks/hook")["disabled_reason"] == "gone")
        #expect(target.kinds == ["webhook.ping"])
      }
    }
  }

  @Test("a ping is sent whatever the filter; a delivery is sent again on demand with the same id and body")
  func onDemand() async throws {
    try await WebhookTarget.with { target async throws in
      try await TestPlane.with(outgoing: .loopback) { test async throws in
        let (_, secret) = try await test.makeWebhook(to: target.url, events: ["image.deleted"])
        #expect(await test.call(.post, "/v1/webhooks/hook/ping?dry_run=true").status == 200)
        let ping = await test.call(.post, "/v1/webhooks/hook/ping")
        #expect(ping.status == 202, "\(ping)")
        let id = try #require(ping["id"]?.stringValue)
        try await test.sendWebhooks()
        #expect(target.kinds == ["webhook.ping"])
        #expect(target.received.first?.id == id)
        #expect(target.received.first?.isSigned(with: secret) == true)
        #expect(try await test.count("SELECT count(*) FROM events WHERE kind = 'webhook.ping'") == 0)
        let again = await test.call(.post, "/v1/webhooks/hook/deliveries/\(id)/redeliver")
        #expect(again.status == 202, "\(again)")
        #expect(again["state"] == "pending")
        try await test.sendWebhooks()
        #expect(target.received.map(\.id) == [id, id])
        #expect(Set(target.received.map(\.body)).count == 1)
        let done = await test.call(.get, "/v1/webhooks/hook/deliveries/\(id)")
        #expect(done["attempts"] == 2)
        #expect(done["state"] == "delivered")
      }
    }
  }

  @Test("after a rotation both secrets sign for a time, the new one alone when there is to be no overlap")
  func rotation() async throws {
    try await WebhookTarget.with { target async throws in
      try await TestPlane.with(outgoing: .loopback) { test async throws in
        let (_, first) = try await test.makeWebhook(to: target.url)
        func rotate(_ body: JSONValue? = nil) async throws -> String {
          let rotated = await test.call(.post, "/v1/webhooks/hook/rotate-secret", body)
          try #require(rotated.status == 200, "\(rotated)")
          return try #require(rotated["secret"]?.stringValue)
        }
        func signers() async throws -> [Bool] {
          #expect(await test.call(.post, "/v1/webhooks/hook/ping").status == 202)
          try await test.sendWebhooks()
          let received = try #require(target.received.last)
          return secrets.map { received.isSigned(with: $0) }
        }
        var secrets = [first, try await rotate()]
        #expect(await test.call(.get, "/v1/webhooks/hook")["previous_secret_expires_at"]?.stringValue != nil)
        #expect(try await signers() == [true, true])
        _ = try await test.database.query("UPDATE webhooks SET previous_expires_at = aloft_now()")
        #expect(try await signers() == [false, true])
        secrets.append(try await rotate(["overlap_seconds": 0]))
        #expect(try await signers() == [false, false, true])
      }
    }
  }

  @Test("the example of docs/WEBHOOKS.md takes what is sent, and refuses what was changed, signed by others, or is old")
  func example() async throws {
    try await WebhookTarget.with { target async throws in
      try await TestPlane.with(outgoing: .loopback) { test async throws in
        let (_, secret) = try await test.makeWebhook(to: target.url)
        _ = await test.call(.post, "/v1/webhooks/hook/ping")
        try await test.sendWebhooks()
        let received = try #require(target.received.first)
        let page = try String(contentsOfFile: Repository.root + "/docs/WEBHOOKS.md", encoding: .utf8)
        let code = try #require(page.split(separator: "```python\n").last?.split(separator: "```").first)
        var headers = JSONObject()
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
          headers[name] = .string(received.header(name))
        }
        let script = """
          \(code)
          import json, sys
          secret, headers, body = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3].encode()
          other = "whsec_" + base64.b64encode(bytes(32)).decode()
          print(is_genuine(secret, headers, body), is_genuine(secret, headers, body + b" "), is_genuine(other, headers, body),
                is_genuine(secret, headers, body, time.time() + 400))
          """
        let said = try await run(
          "python3", "-c", script, secret, String(decoding: JSONValue.object(headers).bytes, as: UTF8.self),
          String(decoding: received.body, as: UTF8.self))
        #expect(said == "True False False False\n")
      }
    }
  }

  @Test("secrets under an old key are sealed anew with the newest, and the old key can go")
  func resealed() async throws {
    try await TestPlane.with { test async throws in
      let (text, newer) = (SealingKey.generate(), SealingKey.generate())
      let (old, both, new) = (
        try SealingKey(text), try SealingKey(newer + "\n" + text), try SealingKey(newer)
      )
      let id = WebhookID(try #require(WebhookID(try await test.makeWebhook(to: "https://host.example/").id)).uuid)
      let (secret, previous) = (WebhookSecret.make(.live), WebhookSecret.make(.live))
      let (sealed, sealedPrevious) = (try old.seal(secret, of: id), try old.seal(previous, of: id))
      try await test.database.execute(
        """
        UPDATE webhooks SET secret = \(sealed), previous_secret = \(sealedPrevious),
                            previous_expires_at = aloft_now() + interval '1 day'
        """)
      #expect(try await Resealing.webhooks(with: new, in: test.database) == .init(resealed: 0, unreadable: 2))
      #expect(try await Resealing.webhooks(with: both, in: test.database) == .init(resealed: 2, unreadable: 0))
      #expect(try await Resealing.webhooks(with: both, in: test.database) == .init(resealed: 0, unreadable: 0))
      let row = try #require(try await test.database.one("SELECT secret, previous_secret FROM webhooks"))
      #expect(try new.open(try row.get(0), of: id) == secret)
      #expect(try new.open(try row.get(1), of: id) == previous)
    }
  }

  @Test("what is sent is counted by its outcome")
  func counted() async throws {
    try await WebhookTarget.with(answer: { _, before in .init(status: before == 0 ? .ok : .notFound) }) {
      target async throws in
      try await TestPlane.with(outgoing: .loopback) { test async throws in
        try await test.makeWebhook(to: target.url)
        for _ in 0..<2 {
          _ = await test.call(.post, "/v1/webhooks/hook/ping")
          try await test.sendWebhooks()
        }
        let figures = String(decoding: await test.call(.get, "/metrics").bytes, as: UTF8.self)
        for line in [
          #"aloft_webhook_attempts_total{result="delivered"} 1"#,
          #"aloft_webhook_attempts_total{result="status_refused"} 1"#,
          #"aloft_webhooks{state="failing"} 1"#, "aloft_webhook_deliveries_pending 1",
        ] { #expect(figures.contains(line + "\n"), "\(line)") }
      }
    }
  }

  @Test("webhooks go with their project, and old deliveries with the time")
  func forgotten() async throws {
    try await WebhookTarget.with { target async throws in
      try await TestPlane.with(outgoing: .loopback) { test async throws in
        #expect(await test.call(.post, "/v1/projects", ["name": "brief"]).status == 201)
        try await test.makeWebhook("there", to: target.url, project: "brief")
        #expect(await test.call(.post, "/v1/webhooks/there/ping?project=brief").status == 202)
        #expect(await test.call(.delete, "/v1/projects/brief").status == 204)
        try await test.sendWebhooks()
        #expect(try await test.count("SELECT count(*) FROM webhooks") == 0)
        #expect(try await test.count("SELECT count(*) FROM work WHERE kind = 'webhook'") == 0)
        #expect(target.received.isEmpty)
        try await test.makeWebhook(to: target.url)
        for _ in 0..<2 { #expect(await test.call(.post, "/v1/webhooks/hook/ping").status == 202) }
        _ = try await test.database.query(
          """
          UPDATE webhook_deliveries SET created_at = created_at - interval '8 days'
           WHERE id = (SELECT min(id::text)::uuid FROM webhook_deliveries)
          """)
        try await test.plane.stepJanitor()
        #expect(try await test.count("SELECT count(*) FROM webhook_deliveries") == 1)
        #expect(try await test.findings() == [])
      }
    }
  }
}
