import Execution
import Foundation
import Postgres
import Testing

@testable import ControlPlane

@Suite("Gauges")
struct GaugeTests {
  @Test("the figures of the cloud are read once for all who ask within their lifetime, and anew behind it")
  func cached() async throws {
    try await TestPlane.with(poolSize: 4) { test async throws in
      let clock = Lock(0.0)
      var environment = Environment.live
      environment.uptime = { clock.withLock { $0 } }
      let cache = GaugeCache(database: test.database, environment: environment)
      func due() async throws -> String? {
        try await cache.gauges().lines.first { $0.hasPrefix("aloft_work_due ") }
      }
      func wake() async throws {
        try await test.database.transaction { session in try WorkQueue.wake(.vm, UUID(), in: session) }
      }
      #expect(try await due() == "aloft_work_due 0")
      try await wake()
      #expect(try await due() == "aloft_work_due 0")
      clock.withLock { $0 += GaugeCache.lifetime }
      #expect(try await due() == "aloft_work_due 1")
    }
  }
}
