import AloftModel
import Foundation
import IPAddressing
import JSON
import Postgres

/// A load balancer as the API shows it.
struct LoadBalancerRecord: Resource {
  typealias Kind = LoadBalancerKind

  static let noun = Noun(
    word: "load balancer", path: "load-balancers", table: "load_balancers", uniqueName: "load_balancers_name",
    created: .loadBalancerCreated, updated: .loadBalancerUpdated, deleted: .loadBalancerDeleted)

  var id: LoadBalancerID
  var projectID: ProjectID?
  var name: String
  /// JSON, passed through.
  var labels: String
  var networkID: NetworkID
  var subnetID: SubnetID
  var address: IPAddress
  var listeners: [Listener]
  /// Why OVN does not have it as it is.
  var problem: String?
  var revision: Int
  var createdAt: Date
  var updatedAt: Date

  struct Listener: Sendable, Decodable, JSONWritable {
    var `protocol`: ListenerProtocol
    var port: Int
    var members: [Member]
    var healthCheck: LoadBalancerPlan.HealthCheck?

    func write(to writer: inout JSONWriter) {
      writer.object { writer in
        writer.field("protocol", `protocol`)
        writer.field("port", port)
        writer.field("members", members)
        writer.field("health_check", healthCheck)
      }
    }
  }

  struct Member: Sendable, Decodable, JSONWritable {
    var nicId: UUID?
    var address: String
    var port: Int
    var subnetId: UUID

    func write(to writer: inout JSONWriter) {
      writer.object { writer in
        writer.field("nic_id", nicId.map { NICID($0) })
        writer.field("address", address)
        writer.field("port", port)
        writer.field("subnet_id", SubnetID(subnetId))
      }
    }
  }

  /// The members of listener `l`, with the addresses that NICs have.
  private static let members: SQL = """
    SELECT coalesce(jsonb_agg(jsonb_build_object('nic_id', m.nic_id, 'address', host(w.address), 'port', m.member_port,
                                                 'subnet_id', m.subnet_id) ORDER BY w.address, m.member_port), '[]')
      FROM load_balancer_members m CROSS JOIN LATERAL (
        SELECT coalesce(m.address, (SELECT min(a.address) FROM addresses a
                                     WHERE a.nic_id = m.nic_id AND a.subnet_id = m.subnet_id)) AS address) w
     WHERE (m.load_balancer_id, m.protocol, m.port) = (l.load_balancer_id, l.protocol, l.port) AND w.address IS NOT NULL
    """

  static let columns: SQL = """
    r.id, r.project_id, r.name, r.labels, r.network_id, r.subnet_id, r.address,
    (SELECT jsonb_agg(jsonb_build_object('protocol', l.protocol, 'port', l.port, 'health_check', l.health_check,
                                         'members', (\(fragment: members))) ORDER BY l.port, l.protocol)
       FROM load_balancer_listeners l WHERE l.load_balancer_id = r.id),
    r.revision, r.created_at, r.updated_at, \(fragment: NetworkRefusals.problem("load_balancer"))
    """

  init(_ row: Row) throws {
    id = try row.get(0)
    projectID = try row.get(1)
    name = try row.get(2)
    labels = try row.get(3, as: JSONText.self).text
    networkID = try row.get(4)
    subnetID = try row.get(5)
    address = try row.get(6)
    listeners = try row.list(7)
    revision = try row.get(8)
    createdAt = try row.get(9)
    updatedAt = try row.get(10)
    problem = try row.get(11)
  }

  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("id", id)
      writer.field("name", name)
      writer.field("project_id", projectID)
      writer.field("network_id", networkID)
      writer.field("subnet_id", subnetID)
      writer.field("address", address)
      writer.field("listeners", listeners)
      writer.field("problem", problem)
      writer.key("labels")
      writer.raw(labels)
      writer.field("created_at", createdAt)
      writer.field("updated_at", updatedAt)
    }
  }
}
