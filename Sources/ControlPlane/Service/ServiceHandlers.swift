import AloftModel
import class Contract.Contract
import enum Contract.DocsPage
import Foundation
import HTTP
import Postgres

/// Health, metrics and the contract itself.
struct ServiceHandlers: Sendable {
  let plane: Plane
  let contract: Contract
  /// The page for people, made once.
  let docs: [UInt8]

  init(plane: Plane, contract: Contract) {
    self.plane = plane
    self.contract = contract
    docs = DocsPage.html(for: contract)
  }

  func register(in table: inout HandlerTable) {
    table.on("healthz") { _ in Reply(contentType: "text/plain", body: .bytes(Array("ok\n".utf8))) }
    table.on("readyz", ready)
    table.on("metrics", metrics)
    table.on("openapi") { [contract] _ in Reply(contentType: "application/json", body: .bytes(contract.bundledJSON)) }
    table.on("docs") { [docs] _ in
      var reply = Reply(contentType: "text/html; charset=utf-8", body: .bytes(docs))
      // The page brings all that it needs.
      reply.headers[header: "Content-Security-Policy"] =
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
      return reply
    }
  }

  private func ready(_ call: Call) async throws -> Reply {
    _ = try await plane.database.query("SELECT 1")
    return Reply(contentType: "text/plain", body: .bytes(Array("ready\n".utf8)))
  }

  private func metrics(_ call: Call) async throws -> Reply {
    let gauges = try await plane.database.run { session in try PlaneGauges.read(in: session) }
    return Reply(
      contentType: "text/plain; version=0.0.4",
      body: .bytes(plane.metrics.text(gauges: gauges, streams: plane.streams.open)))
  }
}
