import AloftModel
import Foundation
import JSON
import Postgres

/// A line of the audit as the API shows it.
struct AuditRecord: Sendable, JSONWritable {
  var number: Int64
  var at: Date
  var actor: String
  var user: UserID?
  var userName: String?
  var token: APITokenID?
  var session: SessionID?
  var peer: String
  var requestID: String
  var operation: String
  var project: ProjectID?
  var resource: UUID?
  var refusal: String?
  /// A JSON value, passed through.
  var request: String?

  static let columns: SQL = "id, at, \(fragment: AuditTrail.columns)"

  init(_ row: Row) throws {
    number = try row.get(0)
    at = try row.get(1)
    actor = try row.get(2)
    user = try row.get(3)
    userName = try row.get(4)
    token = try row.get(5)
    session = try row.get(6)
    peer = try row.get(7)
    requestID = try row.get(8)
    operation = try row.get(9)
    project = try row.get(10)
    resource = try row.get(11)
    refusal = try row.get(12)
    request = try row.get(13, as: JSONText?.self)?.text
  }

  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("at", at)
      writer.field("user_id", user)
      writer.field("user_name", userName ?? (user == nil ? actor : nil))
      writer.field("token_id", token)
      writer.field("session_id", session)
      writer.field("peer", peer)
      writer.field("request_id", requestID)
      writer.field("operation", operation)
      writer.field("outcome", refusal == nil ? "accepted" : "refused")
      writer.field("refusal", refusal)
      writer.field("project_id", project)
      writer.field("resource_id", resource.map { Self.name($0, changedBy: operation) })
      writer.key("request")
      writer.raw(request ?? "null")
    }
  }

  /// The id of what an operation changes, as the API spells it. Operations are named after what they change; of these words the
  /// first that fits counts.
  static func name(_ id: UUID, changedBy operation: String) -> String {
    for (word, name) in words where operation.hasSuffix(word) { return name(id) }
    return id.uuidString.lowercased()
  }

  private static let words: [(String, @Sendable (UUID) -> String)] = [
    ("VM", { VMID($0).description }), ("Image", { ImageID($0).description }),
    ("ImageContent", { ImageID($0).description }), ("ImageUpload", { ImageID($0).description }),
    ("ImageFetch", { ImageID($0).description }),
    ("StoragePool", { StoragePoolID($0).description }), ("Volume", { VolumeID($0).description }),
    ("BackupSchedule", { VolumeID($0).description }),
    ("Backup", { BackupID($0).description }),
    ("Snapshot", { SnapshotID($0).description }),
    ("NodePool", { NodePoolID($0).description }), ("NodeToken", { NodeTokenID($0).description }),
    ("Node", { NodeID($0).description }), ("Project", { ProjectID($0).description }),
    ("Member", { UserID($0).description }), ("User", { UserID($0).description }),
    ("Token", { APITokenID($0).description }), ("Quotas", { ProjectID($0).description }),
    ("Session", { SessionID($0).description }), ("Login", { SessionID($0).description }),
    ("Password", { UserID($0).description }),
    ("ExternalNetwork", { ExternalNetworkID($0).description }), ("RoutedBlocks", { ExternalNetworkID($0).description }),
    ("Network", { NetworkID($0).description }),
    ("Subnet", { SubnetID($0).description }), ("NIC", { NICID($0).description }),
    ("SecurityGroup", { SecurityGroupID($0).description }), ("SecurityGroupRule", { SecurityGroupID($0).description }),
    ("Router", { RouterID($0).description }), ("RouterInterface", { RouterID($0).description }),
    ("FloatingIP", { FloatingIPID($0).description }), ("LoadBalancer", { LoadBalancerID($0).description }),
    ("NetworkPeering", { NetworkPeeringID($0).description }),
    ("Webhook", { WebhookID($0).description }), ("WebhookSecret", { WebhookID($0).description }),
    ("WebhookDelivery", { WebhookDeliveryID($0).description }),
  ]
}

/// Which records somebody asks for.
struct AuditFilter: Sendable {
  var project: ProjectID?
  var user: UserID?
  var operation: String?
  var resource: UUID?
  var isRefused: Bool?
  var since: Date?
  var until: Date?

  /// The condition, to follow `WHERE`.
  var condition: SQL {
    var condition: SQL = "true"
    if let project { condition.append(" AND project_id = \(project)") }
    if let user { condition.append(" AND user_id = \(user)") }
    if let operation { condition.append(" AND operation = \(operation)") }
    if let resource { condition.append(" AND resource_id = \(resource)") }
    if let isRefused { condition.append(isRefused ? " AND refusal IS NOT NULL" : " AND refusal IS NULL") }
    if let since { condition.append(" AND at >= \(since)") }
    if let until { condition.append(" AND at < \(until)") }
    return condition
  }
}

/// The rows of `audit`, for reading.
enum AuditStore {
  /// The newest records before `number`.
  static func page(_ filter: AuditFilter, before number: Int64?, limit: Int, in session: Session) throws
    -> [AuditRecord]
  {
    try session.query(
      """
      SELECT \(fragment: AuditRecord.columns) FROM audit
       WHERE \(fragment: filter.condition) AND (\(number)::bigint IS NULL OR id < \(number)) ORDER BY id DESC LIMIT \(limit)
      """
    ).map { try AuditRecord($0) }
  }

  /// The oldest records behind `number`.
  static func next(_ filter: AuditFilter, after number: Int64, limit: Int, in session: Session) throws -> [AuditRecord]
  {
    try session.query(
      """
      SELECT \(fragment: AuditRecord.columns) FROM audit
       WHERE \(fragment: filter.condition) AND id > \(number) ORDER BY id LIMIT \(limit)
      """
    ).map { try AuditRecord($0) }
  }
}
