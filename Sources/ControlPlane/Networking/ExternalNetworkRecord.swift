import AloftModel
import Foundation
import IPAddressing
import JSON
import Postgres

/// A network outside of the cloud as the API shows it: a row of `networks` that is of no project.
struct ExternalNetworkRecord: Resource {
  typealias Kind = ExternalNetworkKind

  static let noun = Noun(
    word: "external network", path: "external-networks", table: "networks", uniqueName: "networks_name",
    created: .externalNetworkCreated, updated: .externalNetworkUpdated, deleted: .externalNetworkDeleted)
  static let isCloudWide = true
  static let restriction: SQL = " AND r.project_id IS NULL"

  var id: ExternalNetworkID
  var projectID: ProjectID? { nil }
  var name: String
  /// A JSON object, passed through.
  var labels: String
  var physicalNetwork: String
  var vlan: Int?
  var mtu: Int
  var revision: Int
  var createdAt: Date
  var updatedAt: Date
  var subnets: [SubnetSummary]
  /// Why OVN does not have it as it is.
  var problem: String?

  static let columns: SQL = """
    r.id, r.name, r.labels, r.physical_network, r.vlan, r.mtu, r.revision, r.created_at, r.updated_at,
    \(fragment: SubnetSummary.columns), \(fragment: NetworkRefusals.problem("external_network"))
    """

  init(_ row: Row) throws {
    id = try row.get(0)
    name = try row.get(1)
    labels = try row.get(2, as: JSONText.self).text
    physicalNetwork = try row.get(3)
    vlan = try row.get(4)
    mtu = try row.get(5)
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
      writer.field("physical_network", physicalNetwork)
      writer.field("vlan", vlan)
      writer.field("mtu", mtu)
      writer.field("subnets", subnets)
      writer.field("problem", problem)
      writer.key("labels")
      writer.raw(labels)
      writer.field("created_at", createdAt)
      writer.field("updated_at", updatedAt)
    }
  }
}

/// A subnet of an external network as the API shows it: what matters of a subnet where no guest is.
struct ExternalSubnetRecord: Resource {
  typealias Kind = SubnetKind

  static let noun = SubnetRecord.noun
  static let isCloudWide = true
  static let restriction: SQL = " AND r.project_id IS NULL"
  static let columns = SubnetRecord.columns
  static let shownColumns = SubnetRecord.shownColumns

  var subnet: SubnetRecord

  init(_ row: Row) throws { subnet = try SubnetRecord(row) }

  var id: SubnetID { subnet.id }
  var projectID: ProjectID? { nil }
  var name: String { subnet.name }
  var revision: Int { subnet.revision }
  var externalNetworkID: ExternalNetworkID { ExternalNetworkID(subnet.networkID.uuid) }
  var location: String { "/v1/external-networks/\(externalNetworkID)/subnets/\(id)" }

  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("id", id)
      writer.field("name", name)
      writer.field("external_network_id", externalNetworkID)
      writer.field("cidr", subnet.cidr)
      writer.field("gateway", subnet.gateway)
      writer.field("pools", subnet.pools.map(\.description))
      writer.field("addresses_used", subnet.used ?? 0)
      writer.key("labels")
      writer.raw(subnet.labels)
      writer.field("created_at", subnet.createdAt)
      writer.field("updated_at", subnet.updatedAt)
    }
  }
}
