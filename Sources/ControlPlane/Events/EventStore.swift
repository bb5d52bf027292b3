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
  case imageShared = "image.shared"
  case imageUnshared = "image.unshared"
  case imagePublished = "image.published"
  case imageUnpublished = "image.unpublished"
  case projectCreated = "project.created"
  case projectUpdated = "project.updated"
  case projectDeleted = "project.deleted"
  case projectQuotasUpdated = "project.quotas_updated"
  case memberAdded = "member.added"
  case memberUpdated = "member.updated"
  case memberRemoved = "member.removed"
  case nodeJoined = "node.joined"
  case nodeUpdated = "node.updated"
  case nodeDown = "node.down"
  case nodeUp = "node.up"
  case nodeRemoved = "node.removed"
  case nodePoolUpdated = "node_pool.updated"
  case nodeTokenCreated = "node_token.created"
  case nodeTokenDeleted = "node_token.deleted"
  case userCreated = "user.created"
  case userUpdated = "user.updated"
  case userDeleted = "user.deleted"
  case tokenCreated = "token.created"
  case tokenDeleted = "token.deleted"
  case storagePoolCreated = "storage_pool.created"
  case storagePoolUpdated = "storage_pool.updated"
  case storagePoolDeleted = "storage_pool.deleted"
  case storagePoolFilling = "storage_pool.filling"
  case backupCreated = "backup.created"
  case backupUpdated = "backup.updated"
  case backupDeleted = "backup.deleted"
  case snapshotCreated = "snapshot.created"
  case snapshotUpdated = "snapshot.updated"
  case snapshotDeleted = "snapshot.deleted"
  case volumeCreated = "volume.created"
  case volumeUpdated = "volume.updated"
  case volumeDeleted = "volume.deleted"
  case networkCreated = "network.created"
  case networkUpdated = "network.updated"
  case networkDeleted = "network.deleted"
  case externalNetworkCreated = "external_network.created"
  case externalNetworkUpdated = "external_network.updated"
  case externalNetworkDeleted = "external_network.deleted"
  case subnetCreated = "subnet.created"
  case subnetUpdated = "subnet.updated"
  case subnetDeleted = "subnet.deleted"
  case nicCreated = "nic.created"
  case nicUpdated = "nic.updated"
  case nicDeleted = "nic.deleted"
  case securityGroupCreated = "security_group.created"
  case securityGroupUpdated = "security_group.updated"
  case securityGroupDeleted = "security_group.deleted"
  case routerCreated = "router.created"
  case routerUpdated = "router.updated"
  case routerDeleted = "router.deleted"
  case floatingIPCreated = "floating_ip.created"
  case floatingIPUpdated = "floating_ip.updated"
  case floatingIPDeleted = "floating_ip.deleted"
  case loadBalancerCreated = "load_balancer.created"
  case loadBalancerUpdated = "load_balancer.updated"
  case loadBalancerDeleted = "load_balancer.deleted"
  case networkPeeringCreated = "network_peering.created"
  case networkPeeringUpdated = "network_peering.updated"
  case networkPeeringDeleted = "network_peering.deleted"
  case webhookCreated = "webhook.created"
  case webhookUpdated = "webhook.updated"
  case webhookSecretRotated = "webhook.secret_rotated"
  case webhookDisabled = "webhook.disabled"
  case webhookDeleted = "webhook.deleted"
  /// Never happens: it is sent to a webhook that is tried.
  case webhookPing = "webhook.ping"
}

/// The outbox: the transaction that changes something writes what happened.
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

  /// Where a reader starts who wants only what happens from now on: behind the newest event that can be seen.
  static func end(in session: Session) throws -> Cursor {
    try session.one(
      """
      SELECT e.xid::text, seq FROM events e WHERE e.xid < aloft_events_settled() ORDER BY e.xid DESC, e.seq DESC LIMIT 1
      """
    ).map { try Cursor($0) } ?? removed(in: session)
  }

  /// Which events a reader sees.
  struct Scope: Sendable {
    /// Nil: every project.
    var project: ProjectID?
    /// Also those that are of no project: of nodes, pools, join tokens, users and their tokens, and that a project was made or
    /// deleted.
    var nodes: Bool

    static let everything = Scope(project: nil, nodes: true)

    func shows(_ project: ProjectID?) -> Bool {
      project == nil ? nodes : self.project == nil || self.project == project
    }
  }

  /// What comes behind a cursor.
  struct Page: Sendable {
    var records: [Record]
    /// Where to go on: past the events of other projects too.
    var end: Cursor
  }

  /// The next events behind `cursor` that all readers see in the same order: nothing can appear in front of them later.
  ///
  /// The page ends at an event and never at a bare transaction number: after a crash PostgreSQL gives the numbers of
  /// transactions that left nothing behind to new ones.
  static func after(_ cursor: Cursor, _ scope: Scope, limit: Int, in session: Session) throws -> Page {
    let transaction = String(cursor.transaction)
    // `ORDER BY xid` alone would mean the column of the answer, which is text: 1000 before 999.
    let rows = try session.query(
      """
      SELECT e.xid::text, seq, at, kind, project_id, resource_id, data FROM (
        SELECT *, row_number() OVER (ORDER BY page.xid DESC, page.seq DESC) = 1 AS is_last FROM (
          SELECT * FROM events
           WHERE (xid, seq) > (\(transaction)::xid8, \(cursor.number)::bigint) AND xid < aloft_events_settled()
           ORDER BY events.xid, events.seq LIMIT \(limit)) AS page) AS e
       WHERE is_last OR \(scope.project)::uuid IS NULL OR project_id = \(scope.project)
          OR (project_id IS NULL AND \(scope.nodes))
       ORDER BY e.xid, e.seq
      """)
    guard let last = rows.last else { return Page(records: [], end: cursor) }
    let records = try rows.map { row in
      Record(
        cursor: try Cursor(row), at: try row.get(2), kind: try row.get(3), projectID: try row.get(4),
        resourceID: try row.get(5), data: try row.get(6, as: JSONText.self).text)
    }
    return Page(
      records: records.filter { scope.shows($0.projectID) },
      end: try Cursor(last))
  }

  /// Refuses a cursor behind which events are missing, or that no event of this database can have.
  static func require(_ cursor: Cursor, in session: Session) throws {
    if cursor == .oldest { return }
    let removed = try removed(in: session)
    guard cursor >= removed else {
      throw Problem(
        .eventsGone,
        "events behind \(cursor) are not kept any more; look at the resources themselves, then read on from 0, the oldest that is left",
        errors: [.init(code: .eventsGone, detail: "older than what is kept", parameter: "Last-Event-ID")])
    }
    let text: String = try session.one("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")?.get(0) ?? ""
    guard let next = UInt64(text), cursor.transaction < next else {
      throw Problem(
        .eventsGone,
        "there is no event \(cursor): it is not of this cloud, or the database was restored from before it; start anew",
        errors: [.init(code: .eventsGone, detail: "of the future", parameter: "Last-Event-ID")])
    }
  }

  /// Removes up to `limit` of the events that are older than `days`, and remembers how far. Returns how many.
  static func expire(days: Int, atMost limit: Int, in session: Session) throws -> Int {
    try session.one(
      """
      WITH gone AS (
        DELETE FROM events WHERE (xid, seq) IN (
          SELECT xid, seq FROM events WHERE at < aloft_now() - make_interval(days => \(days)) ORDER BY xid, seq LIMIT \(limit))
        RETURNING xid, seq
      ), newest AS (SELECT xid, seq FROM gone ORDER BY xid DESC, seq DESC LIMIT 1
      ), remembered AS (
        UPDATE events_removed r SET xid = newest.xid, seq = newest.seq FROM newest
         WHERE (r.xid, r.seq) < (newest.xid, newest.seq)
      )
      SELECT count(*) FROM gone
      """)?.get(0) ?? 0
  }

  private static func removed(in session: Session) throws -> Cursor {
    try session.one("SELECT xid::text, seq FROM events_removed").map { try Cursor($0) } ?? .oldest
  }
}

extension EventStore.Cursor {
  /// Reads the first two columns.
  fileprivate init(_ row: Row) throws {
    self.init(transaction: UInt64(try row.get(0, as: String.self)) ?? 0, number: try row.get(1))
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
    case "project": ProjectID(resourceID).description
    case "member": UserID(resourceID).description
    case "node": NodeID(resourceID).description
    case "node_pool": NodePoolID(resourceID).description
    case "node_token": NodeTokenID(resourceID).description
    case "user": UserID(resourceID).description
    case "token": APITokenID(resourceID).description
    case "storage_pool": StoragePoolID(resourceID).description
    case "volume": VolumeID(resourceID).description
    case "snapshot": SnapshotID(resourceID).description
    case "backup": BackupID(resourceID).description
    case "network": NetworkID(resourceID).description
    case "external_network": ExternalNetworkID(resourceID).description
    case "subnet": SubnetID(resourceID).description
    case "nic": NICID(resourceID).description
    case "security_group": SecurityGroupID(resourceID).description
    case "router": RouterID(resourceID).description
    case "floating_ip": FloatingIPID(resourceID).description
    case "load_balancer": LoadBalancerID(resourceID).description
    case "network_peering": NetworkPeeringID(resourceID).description
    case "webhook": WebhookID(resourceID).description
    default: OperationID(resourceID).description
    }
  }
}
