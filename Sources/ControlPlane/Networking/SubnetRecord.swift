import AloftModel
import Foundation
import IPAddressing
import JSON
import Postgres

/// A subnet as the API shows it.
struct SubnetRecord: Resource {
  typealias Kind = SubnetKind

  static let noun = Noun(
    word: "subnet", path: "subnets", table: "subnets", uniqueName: "subnets_name", created: .subnetCreated,
    updated: .subnetUpdated, deleted: .subnetDeleted)

  var id: SubnetID
  var projectID: ProjectID?
  var name: String
  var networkID: NetworkID
  /// A JSON object, passed through.
  var labels: String
  var cidr: AddressBlock
  var gateway: IPAddress?
  var configuration: SubnetConfiguration
  var dnsServers: [IPAddress]
  /// JSON arrays, passed through.
  var hostRoutes: String
  var reserved: String
  var poolFirst: [IPAddress]
  var poolSize: [Int]
  /// How many addresses somebody has; nil where nobody has counted.
  var used: Int?
  var revision: Int
  var createdAt: Date
  var updatedAt: Date

  static let columns = selection(used: "NULL::bigint")
  static let shownColumns = selection(
    used: "(SELECT count(*) FROM addresses a WHERE a.subnet_id = r.id AND a.released_at IS NULL)")

  private static func selection(used: SQL) -> SQL {
    """
    r.id, r.project_id, r.name, r.network_id, r.labels, r.cidr, r.gateway, r.configuration, r.dns_servers, r.host_routes,
    r.reserved, r.pool_first, r.pool_size,
    \(fragment: used), r.revision, r.created_at, r.updated_at
    """
  }

  init(_ row: Row) throws {
    id = try row.get(0)
    projectID = try row.get(1)
    name = try row.get(2)
    networkID = try row.get(3)
    labels = try row.get(4, as: JSONText.self).text
    cidr = try row.get(5)
    gateway = try row.get(6)
    configuration = try row.get(7)
    dnsServers = try row.get(8)
    hostRoutes = try row.get(9, as: JSONText.self).text
    reserved = try row.get(10, as: JSONText.self).text
    poolFirst = try row.get(11)
    poolSize = try row.get(12)
    used = try row.get(13)
    revision = try row.get(14)
    createdAt = try row.get(15)
    updatedAt = try row.get(16)
  }

  /// What is given out, as ranges.
  var pools: [AddressRange] {
    zip(poolFirst, poolSize).compactMap { first, size in
      first.advanced(by: UInt64(max(0, size - 1))).flatMap { AddressRange(first, $0) }
    }
  }

  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("id", id)
      writer.field("name", name)
      writer.field("project_id", projectID)
      writer.field("network_id", networkID)
      writer.field("cidr", cidr)
      writer.field("gateway", gateway)
      writer.field("configuration", configuration)
      writer.field("dns_servers", dnsServers)
      writer.key("host_routes")
      writer.raw(hostRoutes)
      writer.key("reserved")
      writer.raw(reserved)
      writer.field("pools", pools.map(\.description))
      writer.field("addresses_used", used ?? 0)
      writer.key("labels")
      writer.raw(labels)
      writer.field("created_at", createdAt)
      writer.field("updated_at", updatedAt)
    }
  }
}
