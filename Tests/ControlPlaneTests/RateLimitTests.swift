import AloftModel
import Foundation
import HTTP
import HTTPTypes
import JSON
import TestSupport
import Testing

@testable import ControlPlane

@Suite("Rate limits")
struct RateLimitTests {
  private static let limit = RateLimit(perSecond: 10, burst: 5)

  @Test("a burst is taken at once, then one call for each interval; a refused call costs nothing")
  func meter() {
    var meter = RateMeter<Int>(Self.limit, capacity: 100)
    #expect((0..<5).map { _ in meter.take(1, at: 100).remaining } == [4, 3, 2, 1, 0])
    for _ in 0..<10 {
      let refused = meter.take(1, at: 100)
      #expect(!refused.isAllowed && abs(refused.wait - 0.1) < 1e-9 && abs(refused.reset - 0.5) < 1e-9)
    }
    #expect(!meter.take(1, at: 100.09).isAllowed)
    #expect(meter.take(1, at: 100.1).isAllowed)
    #expect(!meter.take(1, at: 100.1).isAllowed)
    #expect(meter.take(2, at: 100.1).remaining == 4, "another caller is not touched")
    #expect(meter.take(1, at: 1000).remaining == 4, "all is paid back behind a pause")
  }

  @Test("whoever keeps to the rate is never refused, and whoever does not gets no more than the rate")
  func sustained() {
    var meter = RateMeter<Int>(Self.limit, capacity: 100)
    #expect((0..<1000).allSatisfy { meter.take(1, at: 50 + Double($0) * 0.1).isAllowed })
    let taken = (0..<10_000).count { meter.take(2, at: 200 + Double($0) * 0.01).isAllowed }
    #expect((1000...1005).contains(taken))
  }

  @Test("memory is bounded under any number of callers, and who was there before them is not touched")
  func bounded() {
    var meter = RateMeter<Int>(RateLimit(perSecond: 1, burst: 10), capacity: 1000)
    for _ in 0..<10 { _ = meter.take(-1, at: 0) }
    var allowed = 0
    for caller in 0..<100_000 where meter.take(caller, at: 1 + Double(caller) * 1e-5).isAllowed { allowed += 1 }
    #expect(meter.count <= 1000)
    #expect(allowed < 600, "those who come when it is full share one meter")
  }

  @Test("whoever is known already keeps a meter of their own when it is full, and no more than their rate")
  func knownWhenFull() {
    var meter = RateMeter<Int>(RateLimit(perSecond: 1, burst: 10), capacity: 100)
    _ = meter.take(-2, at: 9)
    for _ in 0..<5 { _ = meter.take(-1, at: 18.5) }
    // At 19 the halves turn; then others fill the newer one.
    for caller in 0..<1000 { _ = meter.take(caller, at: 19.1) }
    #expect((0..<100).count { _ in meter.take(-1, at: 19.5).isAllowed } == 6, "ten, less four that are still owed")
    #expect(!meter.take(5000, at: 19.5).isAllowed, "what they take is not put on the others' meter")
  }

  @Test("a token that is used too often is refused with 429, told when to come again, and others are not touched")
  func token() async throws {
    try await TestPlane.with(rateLimit: RateLimit(perSecond: 1, burst: 3)) { test async throws in
      let other = TestPlane.bearer(try await test.makeToken(["default": .viewer]))
      var refused: Answer?
      for _ in 0..<8 {
        let answer = await test.call(.get, "/v1/vms")
        #expect(answer.header("RateLimit-Limit") == "3")
        if answer.status == 429 { refused = answer }
      }
      let answer = try #require(refused)
      #expect(answer.code == "rate_limited" && answer.header("RateLimit-Remaining") == "0")
      #expect(Int(answer.header("Retry-After") ?? "").map { (1...3).contains($0) } == true)
      #expect(await test.send(.get, "/v1/vms", headers: other).status == 200)
      try await eventually("it may call again") { await test.call(.get, "/v1/vms").status == 200 }
    }
  }

  @Test(
    "an address that tries tokens is refused before the database is asked; those who have one are served from there")
  func strangers() async throws {
    try await TestPlane.with(rateLimit: RateLimit(perSecond: 1000, burst: 1000)) { test async throws in
      let peer = Peer(address: "2001:db8::1")
      #expect(await test.call(.get, "/v1/vms").status == 200)
      var codes: [String?] = []
      for index in 0..<120 {
        let headers = TestPlane.bearer("aloft_" + String(repeating: "\(index % 10)", count: 60) + "\(1000 + index)")
        codes.append(await test.send(.get, "/v1/vms", headers: headers, peer: peer).code)
      }
      #expect(codes.prefix(20).allSatisfy { $0 == "token_invalid" })
      #expect(codes.suffix(20).contains("rate_limited"))
      // The same site, another address; and somebody else.
      let known = TestPlane.bearer(test.token)
      try await eventually("a remembered token is served") {
        #expect(await test.send(.get, "/v1/vms", headers: known, peer: Peer(address: "192.0.2.7")).status == 200)
        return await test.send(.get, "/v1/vms", headers: known, peer: peer).status == 200
      }
    }
  }

  @Test("ten thousand addresses that try tokens leave memory bounded")
  func manyAddresses() {
    let limiter = RateLimiter(RateLimit(perSecond: 1, burst: 1), environment: .live)
    for index in 0..<100_000 { limiter.failed("10.\(index >> 16).\(index >> 8 & 255).\(index & 255)") }
    #expect(limiter.callers <= 20_000)
    #expect(RateLimiter.site("2001:db8:1:2::9") == RateLimiter.site("2001:db8:1:2:ffff::"))
    #expect(RateLimiter.site("2001:db8:1:3::9") != RateLimiter.site("2001:db8:1:2::9"))
  }
}
