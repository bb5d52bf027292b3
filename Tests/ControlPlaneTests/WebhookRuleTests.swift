import AloftModel
import Foundation
import Testing

@testable import ControlPlane

@Suite("Webhooks: rules")
struct WebhookRuleTests {
  @Test("a filter takes kinds, beginnings of kinds, or all")
  func filter() {
    let filter = WebhookFilter(patterns: ["vm.*", "image.ready"])
    for kind in ["vm.created", "vm.state_changed", "image.ready"] { #expect(filter.lets(kind), "\(kind)") }
    for kind in ["image.created", "vmx.created", "vm", "operation.ended"] { #expect(!filter.lets(kind), "\(kind)") }
    #expect(WebhookFilter(patterns: ["*"]).lets("node.down"))
    #expect(filter.firstUnknown == nil)
    #expect(WebhookFilter(patterns: ["vm.*", "vm.melted"]).firstUnknown == 1)
    #expect(WebhookFilter(patterns: ["disk.*"]).firstUnknown == 0)
  }

  @Test("a signature is that of the test vector of Standard Webhooks")
  func signature() throws {
    let key = try #require(Data(base64Encoded: "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
    let signature = WebhookSecret(bytes: Array(key)).signature(
      id: "msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp: 1_614_265_330, body: Array(#"{"test": 2432232314}"#.utf8))
    #expect(signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
    let made = WebhookSecret.make(.live)
    #expect(made.bytes.count == 32)
    #expect(made.text.hasPrefix("whsec_"))
    #expect(Data(base64Encoded: String(made.text.dropFirst(6))) == Data(made.bytes))
    #expect(WebhookSecret.make(.live) != made)
  }

  @Test(
    "what failed is tried again with growing pauses for about a day, and not all at once", arguments: [0, UInt64.max])
  func schedule(random: UInt64) {
    let start = Date(timeIntervalSince1970: 1_000_000)
    let expires = start.addingTimeInterval(86_400)
    var (now, attempts, pauses) = (start, 1, [TimeInterval]())
    while let next = WebhookSchedule.next(afterAttempt: attempts, at: now, expires: expires, random: random) {
      pauses.append(next.timeIntervalSince(now))
      (now, attempts) = (next, attempts + 1)
    }
    #expect(pauses == pauses.sorted())
    #expect((10...20).contains(attempts), "\(attempts)")
    #expect(now.timeIntervalSince(start) > 86_400 - 1.2 * 14_400)
    #expect(now < expires)
    for (pause, measure) in zip(pauses, WebhookSchedule.pauses) {
      #expect((0.79 * measure...1.21 * measure).contains(pause))
    }
  }

  @Test("a target that fails is tried less and less often; a success makes it a good one again")
  func health() {
    let start = Date(timeIntervalSince1970: 1_000_000)
    var health = WebhookHealth()
    var pauses: [TimeInterval] = []
    for attempt in 0..<10 {
      let now = start.addingTimeInterval(Double(attempt) * 100)
      #expect(health.record(.failed, milliseconds: 5, at: now) == nil)
      pauses.append(health.retryAt?.timeIntervalSince(now) ?? -1)
    }
    #expect(pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60])
    #expect(health.failures == 10)
    #expect(health.failingSince == start)
    #expect(health.record(.delivered, milliseconds: 5, at: start.addingTimeInterval(2000)) == nil)
    #expect(health == WebhookHealth())
    _ = health.record(.delivered, milliseconds: 2_500, at: start)
    #expect(health.isSlow)
  }

  @Test("three days of nothing but failures disable a webhook, and so does a target that answers 410")
  func patience() {
    let start = Date(timeIntervalSince1970: 1_000_000)
    var health = WebhookHealth()
    #expect(health.record(.failed, milliseconds: 5, at: start) == nil)
    #expect(health.record(.failed, milliseconds: 5, at: start.addingTimeInterval(3 * 86_400 - 1)) == nil)
    #expect(health.record(.failed, milliseconds: 5, at: start.addingTimeInterval(3 * 86_400)) == .failing)
    var other = WebhookHealth()
    #expect(other.record(.failed, milliseconds: 5, at: start) == nil)
    #expect(other.record(.delivered, milliseconds: 5, at: start.addingTimeInterval(86_400)) == nil)
    #expect(other.record(.failed, milliseconds: 5, at: start.addingTimeInterval(4 * 86_400)) == nil)
    var unsent = WebhookHealth()
    #expect(unsent.record(.unsent, milliseconds: 0, at: start) == nil)
    #expect(unsent.failures == 0 && unsent.failingSince == nil && unsent.retryAt == start.addingTimeInterval(60))
    #expect(other.record(.gone, milliseconds: 5, at: start.addingTimeInterval(4 * 86_400)) == .gone)
  }

  @Test("an answer from 200 to 299 is a delivery, everything else is none")
  func answers() {
    func judge(_ status: Int, _ body: [UInt8] = []) -> WebhookResult {
      WebhookTransport.result(.init(status: status, headers: [:], body: body, isCut: false))
    }
    for status in [200, 201, 202, 204, 299] { #expect(judge(status).isDelivered, "\(status)") }
    for status in [301, 302, 303, 304, 307, 308] { #expect(judge(status).failure == .redirected, "\(status)") }
    for status in [400, 401, 404, 410, 429, 500, 503] { #expect(judge(status).failure == .statusRefused, "\(status)") }
    #expect(judge(410).outcome == .gone)
    #expect(WebhookResult(failure: .secretUnreadable).outcome == .unsent)
    #expect(judge(404).outcome == .failed)
    #expect(judge(200, [0x61, 0, 0xFF, 0x62]).response == "a\u{FFFD}\u{FFFD}b")
    #expect(judge(200, [UInt8](repeating: 0x61, count: 9_000)).response?.utf8.count == 1_024)
  }
}
