import AloftModel
import Foundation
import IPAddressing
import JSON
import Postgres

/// A security group as the API shows it, with its rules.
struct SecurityGroupRecord: Resource {
  typealias Kind = SecurityGroupKind

  static let noun = Noun(
    word: "security group", path: "security-groups", table: "security_groups", uniqueName: "security_groups_name",
    created: .securityGroupCreated, updated: .securityGroupUpdated, deleted: .securityGroupDeleted)

  var id: SecurityGroupID
  var projectID: ProjectID?
  var name: String
  /// A JSON object, passed through.
  var labels: String
  var isDefault: Bool
  var revision: Int
  var createdAt: Date
  var updatedAt: Date
  var rules: [SecurityRule]
  /// Why OVN does not have it as it is.
  var problem: String?

  static let columns: SQL = """
    r.id, r.project_id, r.name, r.labels, r.is_default, r.revision, r.created_at, r.updated_at,
    (SELECT jsonb_agg(to_jsonb(s) ORDER BY s.created_at, s.id) FROM security_group_rules s WHERE s.group_id = r.id),
    \(fragment: NetworkRefusals.problem("security_group"))
    """

  init(_ row: Row) throws {
    id = try row.get(0)
    projectID = try row.get(1)
    name = try row.get(2)
    labels = try row.get(3, as: JSONText.self).text
    isDefault = try row.get(4)
    revision = try row.get(5)
    createdAt = try row.get(6)
    updatedAt = try row.get(7)
    rules = try row.list(8)
    problem = try row.get(9)
  }

  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("id", id)
      writer.field("name", name)
      writer.field("project_id", projectID)
      writer.field("is_default", isDefault)
      writer.field("rules", rules)
      writer.field("problem", problem)
      writer.key("labels")
      writer.raw(labels)
      writer.field("created_at", createdAt)
      writer.field("updated_at", updatedAt)
    }
  }
}

/// A rule as its row holds it.
struct SecurityRule: Sendable, Decodable, JSONWritable {
  var id: UUID
  var direction: TrafficDirection
  var ipVersion: Int
  var `protocol`: RuleProtocol
  var firstPort: Int?
  var lastPort: Int?
  var icmpType: Int?
  var icmpCode: Int?
  var remoteCidr: String?
  var remoteGroupId: UUID?

  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("id", SecurityGroupRuleID(id))
      writer.field("direction", direction)
      writer.field("ip_version", ipVersion)
      writer.field("protocol", `protocol`)
      writer.field("first_port", firstPort)
      writer.field("last_port", lastPort)
      writer.field("icmp_type", icmpType)
      writer.field("icmp_code", icmpCode)
      // PostgreSQL leaves the length out where it says nothing.
      writer.field("remote_cidr", remoteCidr.flatMap { AddressBlock($0) })
      writer.field("remote_group_id", remoteGroupId.map { SecurityGroupID($0) })
    }
  }
}
