import AloftModel
import Foundation
import IPAddressing
import JSON
import Postgres

/// A subnet in a few words, inside of its network.
struct SubnetSummary: Sendable, JSONWritable {
  var id: SubnetID
  var name: String
  var cidr: AddressBlock

  /// Three arrays in one order, of the subnets of network `r`.
  static let columns: SQL = """
    (SELECT array_agg(s.id ORDER BY s.id) FROM subnets s WHERE s.network_id = r.id),
    (SELECT array_agg(s.name ORDER BY s.id) FROM subnets s WHERE s.network_id = r.id),
    (SELECT array_agg(s.cidr ORDER BY s.id) FROM subnets s WHERE s.network_id = r.id)
    """

  static func list(_ row: Row, from first: Int) throws -> [SubnetSummary] {
    let ids = try row.get(first, as: [UUID]?.self) ?? []
    let names = try row.get(first + 1, as: [String]?.self) ?? []
    let blocks = try row.get(first + 2, as: [AddressBlock]?.self) ?? []
    return zip(ids, zip(names, blocks)).map { SubnetSummary(id: SubnetID($0), name: $1.0, cidr: $1.1) }
  }

  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("id", id)
      writer.field("name", name)
      writer.field("cidr", cidr)
    }
  }
}

/// A project's network as the API shows it.
struct NetworkRecord: Resource {
  typealias Kind = NetworkKind

  static let noun = Noun(
    word: "network", path: "networks", table: "networks", uniqueName: "networks_name", created: .networkCreated,
    updated: .networkUpdated, deleted: .networkDeleted)

  var id: NetworkID
  var projectID: ProjectID?
  var name: String
  /// A JSON object, passed through.
  var labels: String
  var mtu: Int
  var dnsDomain: String?
  var revision: Int
  var createdAt: Date
  var updatedAt: Date
  var subnets: [SubnetSummary]
  /// Why OVN does not have it as it is.
  var problem: String?

  static let columns: SQL = """
    r.id, r.project_id, r.name, r.labels, r.mtu, r.dns_domain, r.revision, r.created_at, r.updated_at,
    \(fragment: SubnetSummary.columns), \(fragment: NetworkRefusals.problem("network"))
    """

  init(_ row: Row) throws {
    id = try row.get(0)
    projectID = try row.get(1)
    name = try row.get(2)
    labels = try row.get(3, as: JSONText.self).text
    mtu = try row.get(4)
    dnsDomain = try row.get(5)
    revision = try row.get(6)
    createdAt = try row.get(7)
    updatedAt = try row.get(8)
    subnets = try SubnetSummary.list(row, from: 9)
    problem = try row.get(12)
  }

  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("id", id)
      writer.field("name", name)
      writer.field("project_id", projectID)
      writer.field("mtu", mtu)
      writer.field("dns_domain", dnsDomain)
      writer.field("subnets", subnets)
      writer.field("problem", problem)
      writer.key("labels")
      writer.raw(labels)
      writer.field("created_at", createdAt)
      writer.field("updated_at", updatedAt)
    }
  }
}
