import AloftModel
import Foundation
import IPAddressing
import JSON
import Postgres

/// A floating IP as the API shows it.
struct FloatingIPRecord: Resource {
  typealias Kind = FloatingIPKind

  static let noun = Noun(
    word: "floating IP", path: "floating-ips", table: "floating_ips", uniqueName: "floating_ips_pkey",
    created: .floatingIPCreated, updated: .floatingIPUpdated, deleted: .floatingIPDeleted)
  static let hasName = false

  var id: FloatingIPID
  var projectID: ProjectID?
  /// JSON, passed through.
  var labels: String
  var networkID: ExternalNetworkID
  var address: IPAddress
  var nic: NICID?
  var fixedAddress: IPAddress?
  var vm: VMID?
  var router: RouterID?
  /// Why OVN does not have it as it is.
  var problem: String?
  var revision: Int
  var createdAt: Date
  var updatedAt: Date

  /// What people call it by.
  var name: String { address.description }

  static let columns: SQL = """
    r.id, r.project_id, r.labels, r.network_id, (SELECT a.address FROM addresses a WHERE a.floating_ip_id = r.id), r.nic_id,
    (SELECT min(a.address) FROM addresses a
      WHERE a.nic_id = r.nic_id AND a.subnet_id = r.subnet_id AND family(a.address) = 4),
    (SELECT n.vm_id FROM nics n WHERE n.id = r.nic_id),
    (SELECT i.router_id FROM router_interfaces i WHERE i.subnet_id = r.subnet_id), r.revision, r.created_at, r.updated_at,
    \(fragment: NetworkRefusals.problem("floating_ip"))
    """

  init(_ row: Row) throws {
    id = try row.get(0)
    projectID = try row.get(1)
    labels = try row.get(2, as: JSONText.self).text
    networkID = try row.get(3)
    address = try row.get(4)
    nic = try row.get(5)
    fixedAddress = try row.get(6)
    vm = try row.get(7)
    router = try row.get(8)
    revision = try row.get(9)
    createdAt = try row.get(10)
    updatedAt = try row.get(11)
    problem = try row.get(12)
  }

  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("id", id)
      writer.field("project_id", projectID)
      writer.field("address", address)
      writer.field("external_network_id", networkID)
      writer.field("nic_id", nic)
      writer.field("fixed_address", fixedAddress)
      writer.field("vm_id", vm)
      writer.field("router_id", router)
      writer.field("problem", problem)
      writer.key("labels")
      writer.raw(labels)
      writer.field("created_at", createdAt)
      writer.field("updated_at", updatedAt)
    }
  }
}
