import AloftModel
import Foundation
import IPAddressing
import JSON
import Postgres

/// A router as the API shows it.
struct RouterRecord: Resource {
  typealias Kind = RouterKind

  static let noun = Noun(
    word: "router", path: "routers", table: "routers", uniqueName: "routers_name", created: .routerCreated,
    updated: .routerUpdated, deleted: .routerDeleted)

  var id: RouterID
  var projectID: ProjectID?
  var name: String
  /// JSON, passed through.
  var labels: String
  var externalNetworkID: ExternalNetworkID?
  var externalAddresses: [IPAddress]
  var snat: Bool
  var routes: [SubnetPlan.HostRoute]
  var interfaces: [Interface]
  /// Why OVN does not have it as it is.
  var problem: String?
  var revision: Int
  var createdAt: Date
  var updatedAt: Date

  /// The port in a subnet.
  struct Interface: Sendable, Decodable, JSONWritable {
    var subnetId: UUID
    var subnetName: String
    var networkId: UUID
    var cidr: String
    var address: String
    var mac: String
    /// With which addresses packets of the subnet leave the cloud: `translated`, `routed` or `none`.
    var outbound: String

    func write(to writer: inout JSONWriter) {
      writer.object { writer in
        writer.field("subnet_id", SubnetID(subnetId))
        writer.field("subnet_name", subnetName)
        writer.field("network_id", NetworkID(networkId))
        writer.field("cidr", cidr)
        writer.field("address", address)
        writer.field("mac", mac)
        writer.field("outbound", outbound)
      }
    }
  }

  static let columns: SQL = """
    r.id, r.project_id, r.name, r.labels, r.external_network_id,
    (SELECT array_agg(a.address ORDER BY a.address) FROM addresses a JOIN subnets s ON s.id = a.subnet_id
      WHERE a.router_id = r.id AND s.network_id = r.external_network_id),
    r.snat, r.routes,
    (SELECT jsonb_agg(jsonb_build_object('subnet_id', s.id, 'subnet_name', s.name, 'network_id', s.network_id,
                                         'cidr', s.cidr, 'address', host(s.gateway), 'mac', i.mac, 'outbound', CASE
                                           WHEN r.external_network_id IS NULL THEN 'none'
                                           WHEN r.snat AND family(s.cidr) = 4 THEN 'translated'
                                           WHEN EXISTS (SELECT 1 FROM routed_blocks b
                                                         WHERE b.network_id = r.external_network_id
                                                           AND b.project_id = r.project_id AND b.cidr >>= s.cidr)
                                           THEN 'routed' ELSE 'none' END) ORDER BY s.id)
       FROM router_interfaces i JOIN subnets s ON s.id = i.subnet_id WHERE i.router_id = r.id),
    r.revision, r.created_at, r.updated_at, \(fragment: NetworkRefusals.problem("router"))
    """

  init(_ row: Row) throws {
    id = try row.get(0)
    projectID = try row.get(1)
    name = try row.get(2)
    labels = try row.get(3, as: JSONText.self).text
    externalNetworkID = try row.get(4)
    externalAddresses = try row.get(5, as: [IPAddress]?.self) ?? []
    snat = try row.get(6)
    routes = try row.list(7)
    interfaces = try row.list(8)
    revision = try row.get(9)
    createdAt = try row.get(10)
    updatedAt = try row.get(11)
    problem = try row.get(12)
  }

  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("id", id)
      writer.field("name", name)
      writer.field("project_id", projectID)
      writer.field("external_network_id", externalNetworkID)
      writer.field("external_addresses", externalAddresses)
      writer.field("snat", snat)
      writer.field("routes", routes)
      writer.field("interfaces", interfaces)
      writer.field("problem", problem)
      writer.key("labels")
      writer.raw(labels)
      writer.field("created_at", createdAt)
      writer.field("updated_at", updatedAt)
    }
  }
}
