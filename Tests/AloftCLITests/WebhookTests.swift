import JSON
import Testing

@testable import AloftCLI

/// `aloft webhook` against a server on loopback.
@Suite struct WebhookTests {
  @Test(
    "webhooks are made with what was said and show their secret then; they are changed in what was said, and deleted")
  func nouns() async throws {
    let server = try await CannedServer()
    let made = await server.aloft(
      "webhook", "create", "billing", "--to", "https://h.example/x", "--event", "vm.*", "--event", "image.ready",
      "--label", "team=money", "--project", "shop")
    #expect(made.output.contains("whsec_s"), "\(made)")
    _ = await server.aloft("webhook", "create", "quiet", "--to", "https://h.example/", "--disabled", "--dry-run")
    #expect(
      await server.aloft("webhook", "update", "billing", "--rename", "b", "--disable", "-o", "name").output == "b\n")
    _ = await server.aloft("webhook", "update", "billing", "--to", "https://i.example/", "--event", "*", "--enable")
    let rotated = await server.aloft("webhook", "rotate-secret", "billing", "--overlap", "1h")
    #expect(rotated.output.contains("whsec_new"), "\(rotated)")
    let requests = try await server.requests()
    #expect(
      requests[0]["body"] == [
        "name": "billing", "url": "https://h.example/x", "events": ["vm.*", "image.ready"], "labels": ["team": "money"],
      ])
    #expect(requests[0]["query"] == ["project": "shop"])
    #expect(requests[0]["headers"]?["idempotency-key"] == "random-1")
    #expect(requests[1]["body"] == ["name": "quiet", "url": "https://h.example/", "enabled": false])
    #expect(requests[1]["query"] == ["dry_run": "true"])
    #expect(requests[2]["body"] == ["name": "b", "enabled": false])
    #expect(requests[3]["body"] == ["url": "https://i.example/", "events": ["*"], "enabled": true])
    #expect(requests[4]["path"] == "/v1/webhooks/billing/rotate-secret")
    #expect(requests[4]["body"] == ["overlap_seconds": 3600])
    #expect(await server.aloft("webhook", "list").output.contains("DISABLED-BECAUSE"))
    #expect(await server.aloft("webhook", "show", "billing").output.contains("whk_1"))
    #expect(await server.aloft("webhook", "delete", "a", "b").errors == "deleted webhook a\ndeleted webhook b\n")
    let refused = await server.aloft("webhook", "create", "plain", "--to", "http://h.example/")
    #expect(refused.errors.contains("https only\nhint: The operator"), "\(refused.errors)")
  }

  @Test("deliveries are listed by state, shown whole and sent again; one that is gone does not keep the others from it")
  func deliveries() async throws {
    let server = try await CannedServer()
    let listed = await server.aloft("webhook", "deliveries", "billing", "--state", "failed").output
    for text in ["dlv_1", "vm.created", "status_refused", "500"] { #expect(listed.contains(text), "\(listed)") }
    #expect(try await server.requests().last?["query"] == ["state": "failed", "limit": "500"])
    #expect(await server.aloft("webhook", "delivery", "billing", "dlv_2").output.contains("the target answered 500"))
    #expect(await server.aloft("webhook", "ping", "billing", "-o", "name").output == "dlv_1\n")
    let again = await server.aloft("webhook", "redeliver", "billing", "dlv_2", "dlv_9", "dlv_3", "-o", "name")
    #expect(again.output == "dlv_2\ndlv_3\n")
    #expect(again.status == .notFound)
    #expect(try await server.requests().last?["path"] == "/v1/webhooks/billing/deliveries/dlv_3/redeliver")
  }
}
