import AloftModel
import Foundation
import JSON
import Postgres

/// The operations on quotas.
struct QuotaHandlers: Sendable {
  let plane: Plane

  func register(in table: inout HandlerTable) {
    table.on("getDefaultQuotas") { call in try await get(call) { _ in .everyProject } }
    table.on("setDefaultQuotas") { call in try await set(call) { _ in .everyProject } }
    table.on("getProjectQuotas") { call in
      try await get(call) { session in .project(try ProjectStore.require(call, in: session)) }
    }
    table.on("setProjectQuotas") { call in
      try await set(call) { session in .project(try ProjectStore.require(call, in: session)) }
    }
    table.on("getProjectUsage", usage)
  }

  private func get(_ call: Call, _ owner: @escaping @Sendable (Session) throws -> QuotaStore.Owner) async throws
    -> Reply
  {
    let record = try await plane.database.run { session in try QuotaStore.find(try owner(session), in: session) }
    return .json(record, etag: record.etag)
  }

  private func set(_ call: Call, _ owner: @escaping @Sendable (Session) throws -> QuotaStore.Owner) async throws
    -> Reply
  {
    let limits = String(decoding: (call.body ?? .object(JSONObject())).jsonBytes, as: UTF8.self)
    return try await plane.change(call) { session in
      let owner = try owner(session)
      try call.requireMatch(try QuotaStore.lock(owner, in: session).etag)
      try QuotaStore.set(owner, to: limits, in: session)
      let after = try QuotaStore.find(owner, in: session)
      var changed = Changed(reply: .json(after, etag: after.etag), effects: Effects(wake: [.events]))
      if case .project(let id) = owner {
        (changed.project, changed.resource) = (id, id.uuid)
        try EventStore.append(.projectQuotasUpdated, project: id, resource: id.uuid, in: session)
      }
      return changed
    }
  }

  private struct Usage: JSONWritable {
    var records: [UsageRecord]

    func write(to writer: inout JSONWriter) {
      writer.object { writer in
        writer.key("items")
        writer.array { writer in for record in records { record.write(to: &writer) } }
      }
    }
  }

  private func usage(_ call: Call) async throws -> Reply {
    let records = try await plane.database.run { session in
      try QuotaStore.usage(try ProjectStore.require(call, in: session), in: session)
    }
    return .json(Usage(records: records))
  }
}
