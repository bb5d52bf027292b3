import AloftModel
import class Contract.Contract
import enum Contract.DocsPage
import Execution
import Foundation
import HTTP
import Postgres

/// Health, metrics and the contract itself.
struct ServiceHandlers: Sendable {
  let plane: Plane
  let contract: Contract
  /// The page for people, made when somebody first asks for it: a program that starts has to serve soon.
  private let page = Lock<[UInt8]?>(nil)

  init(plane: Plane, contract: Contract) {
    self.plane = plane
    self.contract = contract
  }

  func register(in table: inout HandlerTable) {
    table.on("healthz") { _ in Reply(contentType: "text/plain", body: .bytes(Array("ok\n".utf8))) }
    table.on("readyz", ready)
    table.on("metrics", metrics)
    table.on("openapi") { [contract] _ in Reply(contentType: "application/json", body: .bytes(contract.bundledJSON)) }
    table.on("docs", docs)
  }

  private func docs(_ call: Call) async throws -> Reply {
    let html = page.withLock { $0 } ?? DocsPage.html(for: contract)
    page.withLock { $0 = html }
    var reply = Reply(contentType: "text/html; charset=utf-8", body: .bytes(html))
    reply.headers[.contentSecurityPolicy] = DocsPage.contentSecurityPolicy
    return reply
  }

  private func ready(_ call: Call) async throws -> Reply {
    if plane.isDraining.withLock({ $0 }) { throw Problem(.unavailable, "this replica is about to stop") }
    let found = try await plane.database.run { session -> Int in
      guard try session.one("SELECT 1 WHERE to_regclass('schema_migrations') IS NOT NULL") != nil else { return 0 }
      return try session.one("SELECT coalesce(max(number), 0) FROM schema_migrations")?.get(0) ?? 0
    }
    // A newer one fits: migrations fit the version before, and come before the programs.
    if let needed = plane.settings.schema, found < needed {
      throw Problem(
        .unavailable, "the database is at migration \(found), and this program needs \(needed); run aloftd migrate")
    }
    return Reply(contentType: "text/plain", body: .bytes(Array("ready\n".utf8)))
  }

  private func metrics(_ call: Call) async throws -> Reply {
    let gauges = try await plane.gauges.gauges()
    return Reply(
      contentType: "text/plain; version=0.0.4",
      body: .bytes(plane.metrics.text(gauges: gauges, streams: plane.streams.open)))
  }
}
