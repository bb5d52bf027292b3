import AloftModel
import Foundation
import JSON
import Postgres

/// The kinds of events: a closed list.
enum EventKind: String, Sendable, CaseIterable, PostgresEncodable {
  case vmCreated = "vm.created"
  case vmUpdated = "vm.updated"
  case vmStateChanged = "vm.state_changed"
  case vmDeleted = "vm.deleted"
  case operationAccepted = "operation.accepted"
  case operationEnded = "operation.ended"
  case imageCreated = "image.created"
  case imageReady = "image.ready"
  case imageUpdated = "image.updated"
  case imageDeleted = "image.deleted"
  case nodeJoined = "node.joined"
  case nodeUpdated = "node.updated"
  case nodeDown = "node.down"
  case nodeUp = "node.up"
  case nodeRemoved = "node.removed"
}

/// The outbox: the transaction that changes a VM, an operation, an image or a node writes what happened.
enum EventStore {
  /// Where a reader stands in the total order (transaction id, number).
  struct Cursor: Sendable, Equatable, Comparable, CustomStringConvertible {
    var transaction: UInt64
    var number: Int64

    static let oldest = Cursor(transaction: 0, number: 0)

    static func < (a: Cursor, b: Cursor) -> Bool { (a.transaction, a.number) < (b.transaction, b.number) }

    init(transaction: UInt64, number: Int64) {
      self.transaction = transaction
      self.number = number
    }

    /// Reads `TRANSACTION-NUMBER`, or a transaction alone for what came after it.
    init?(_ text: String) {
      let parts = text.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
      guard let first = parts.first, let transaction = UInt64(first) else { return nil }
      guard parts.count == 2 else {
        self.init(transaction: transaction, number: transaction == 0 ? 0 : .max)
        return
      }
      guard let number = Int64(parts[1]) else { return nil }
      self.init(transaction: transaction, number: number)
    }

    var description: String { "\(transaction)-\(number)" }
  }

  struct Record: Sendable {
    var cursor: Cursor
    var at: Date
    var kind: String
    var projectID: ProjectID?
    var resourceID: UUID
    /// A JSON object, passed through.
    var data: String
  }

  /// Appends an event to the session's transaction.
  static func append(
    _ kind: EventKind, project: ProjectID?, resource: UUID, data: [String: String] = [:], in session: Session
  ) throws {
    _ = try session.execute(appending(kind, project: project, resource: resource, data: data))
  }

  /// The statement of ``append(_:project:resource:data:in:)``, to travel with others.
  static func appending(_ kind: EventKind, project: ProjectID?, resource: UUID, data: [String: String] = [:]) -> SQL {
    let text = JSONText(String(decoding: data.jsonBytes, as: UTF8.self))
    return """
      INSERT INTO events (kind, project_id, resource_id, data)
      VALUES (\(kind), \(project), \(resource), \(text)::jsonb)
      """
  }

  /// Where a reader starts who wants only what happens from now on.
  static func end(in session: Session) throws -> Cursor {
    let xmin: String = try session.one("SELECT pg_snapshot_xmin(pg_current_snapshot())::text")?.get(0) ?? "0"
    // All transactions below have ended; those from here on have not been shown to anybody.
    return Cursor(transaction: (UInt64(xmin) ?? 1) - 1, number: .max)
  }

  /// The next events behind `cursor`, below the oldest transaction that still runs: nothing can appear in front of them later.
  static func after(_ cursor: Cursor, project: ProjectID?, limit: Int, in session: Session) throws -> [Record] {
    let transaction = String(cursor.transaction)
    // `ORDER BY xid` would mean the column of the answer, which is text: 1000 before 999.
    return try session.query(
      """
      SELECT e.xid::text, seq, at, kind, project_id, resource_id, data FROM events e
       WHERE (e.xid, seq) > (\(transaction)::xid8, \(cursor.number)::bigint)
         AND e.xid < pg_snapshot_xmin(pg_current_snapshot())
         AND (\(project)::uuid IS NULL OR project_id IS NULL OR project_id = \(project))
       ORDER BY e.xid, e.seq LIMIT \(limit)
      """
    ).map { row in
      Record(
        cursor: Cursor(transaction: UInt64(try row.get(0, as: String.self)) ?? 0, number: try row.get(1)),
        at: try row.get(2), kind: try row.get(3), projectID: try row.get(4), resourceID: try row.get(5),
        data: try row.get(6, as: JSONText.self).text)
    }
  }
}

extension EventStore.Record: JSONWritable {
  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("cursor", cursor.description)
      writer.field("at", at)
      writer.field("kind", kind)
      writer.field("project_id", projectID)
      writer.field("resource_id", resourceText)
      writer.key("data")
      writer.raw(data)
    }
  }

  /// The kind's first word tells what the id names.
  private var resourceText: String {
    switch kind.prefix(while: { $0 != "." }) {
    case "vm": VMID(resourceID).description
    case "image": ImageID(resourceID).description
    case "node": NodeID(resourceID).description
    default: OperationID(resourceID).description
    }
  }
}
