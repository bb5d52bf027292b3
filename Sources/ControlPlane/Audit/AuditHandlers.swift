import AloftModel
import Foundation
import HTTP
import JSON
import Postgres

/// The operations on the audit: reading, nothing else.
struct AuditHandlers: Sendable {
  private static let exportPage = 500

  let plane: Plane

  func register(in table: inout HandlerTable) {
    table.on("listAudit") { call in try await list(call, ofProject: false) }
    table.on("listProjectAudit") { call in try await list(call, ofProject: true) }
    table.on("exportAudit", export)
  }

  private func list(_ call: Call, ofProject: Bool) async throws -> Reply {
    let before = try call.cursor().map { $0.number }
    let records = try await plane.database.run { session -> [AuditRecord] in
      guard let filter = try filter(call, ofProject: ofProject, in: session) else { return [] }
      return try AuditStore.page(filter, before: before, limit: call.limit + 1, in: session)
    }
    return .page(records, limit: call.limit) { UUID(number: $0.number) }
  }

  /// All that the filters keep, oldest first, a JSON object in each line.
  private func export(_ call: Call) async throws -> Reply {
    let filter: AuditFilter? = try await plane.database.run { session in
      try self.filter(call, ofProject: false, in: session)
    }
    let (database, requirement, authorizer) = (plane.database, call.requirement, plane.authorizer)
    var reply = Reply(contentType: "application/x-ndjson")
    reply.body = .stream { writer in
      guard let filter else { return }
      var last: Int64 = 0
      while true {
        let after = last
        let records = try await database.run { session in
          try AuditStore.next(filter, after: after, limit: Self.exportPage, in: session)
        }
        guard let end = records.last else { return }
        try await writer.write(records.flatMap { $0.jsonBytes + [UInt8(ascii: "\n")] })
        last = end.number
        if let requirement { try await authorizer.admit(requirement) }
      }
    }
    return reply
  }

  /// Nil when a filter names somebody who does not exist: then there is nothing.
  private func filter(_ call: Call, ofProject: Bool, in session: Session) throws -> AuditFilter? {
    var filter = AuditFilter()
    if ofProject { filter.project = try ProjectStore.require(call, in: session) }
    if let text = call.string("user") {
      guard let user = try UserID(text) ?? session.one("SELECT id FROM users WHERE name = \(text)")?.get(0) else {
        return nil
      }
      filter.user = user
    }
    filter.operation = call.string("operation")
    filter.resource = call.string("resource").flatMap { UUID(typeID: $0) }
    filter.isRefused = call.string("outcome").map { $0 == "refused" }
    filter.since = call.string("since").flatMap { RFC3339.date(from: $0) }
    filter.until = call.string("until").flatMap { RFC3339.date(from: $0) }
    return filter
  }
}

extension UUID {
  /// A number as a place in a list.
  fileprivate init(number: Int64) {
    let bytes = withUnsafeBytes(of: number.bigEndian) { Array($0) }
    self.init(
      uuid: (
        0, 0, 0, 0, 0, 0, 0, 0, bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]
      ))
  }

  fileprivate var number: Int64 {
    withUnsafeBytes(of: uuid) { bytes in bytes[8...].reduce(0) { $0 << 8 | Int64($1) } }
  }
}
