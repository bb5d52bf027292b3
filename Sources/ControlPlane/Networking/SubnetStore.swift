import AloftModel
import Foundation
import IPAddressing
import JSON
import Postgres

/// The rows of `subnets`.
enum SubnetStore {
  /// Writes a subnet of a network, which is locked so that no two overlap.
  static func insert(
    _ id: SubnetID, _ plan: SubnetPlan, named name: String, labels: [String: String], network: NetworkID,
    project: ProjectID?, in session: Session
  ) throws {
    guard try session.one("SELECT 1 FROM networks WHERE id = \(network) FOR NO KEY UPDATE") != nil else {
      throw ResourceStore<NetworkRecord>.absent("\(network)", at: "/network")
    }
    let other = try session.one(
      "SELECT name, cidr FROM subnets WHERE network_id = \(network) AND cidr && \(plan.cidr)::cidr LIMIT 1")
    if let other {
      let name = try other.get(0, as: String.self)
      let cidr = try other.get(1, as: AddressBlock.self)
      throw Problem.field(
        .addressesOverlap, "/cidr", "\(plan.cidr) overlaps subnet \(name) of this network, which is \(cidr)")
    }
    try session.execute(
      """
      INSERT INTO subnets (id, network_id, project_id, name, labels, cidr, gateway, configuration, dns_servers, host_routes,
                           reserved, metadata_address, pool_first, pool_size)
      VALUES (\(id), \(network), \(project), \(name), \(JSONText(labels.jsonText))::jsonb, \(plan.cidr), \(plan.gateway),
              \(plan.configuration), \(plan.dnsServers), \(JSONText(plan.hostRoutes.jsonText))::jsonb,
              \(JSONText(plan.reserved.map(\.description).jsonText))::jsonb, \(plan.metadataAddress),
              \(plan.pool.map(\.first)), \(plan.pool.map { min($0.count, SubnetPlan.largestPool) }))
      """
    ) { ResourceStore<SubnetRecord>.refusal(of: $0, name: name) }
    try NICStore.announce(network: network, in: session)
  }

  /// Says who has addresses of a subnet that is not to go.
  static func refuseDeletion(of subnet: SubnetRecord, in session: Session) throws -> Never {
    let owners = try session.query(
      """
      SELECT DISTINCT 'VM ' || v.name
        FROM addresses a JOIN nics n ON n.id = a.nic_id JOIN vms v ON v.id = n.vm_id
       WHERE a.subnet_id = \(subnet.id) ORDER BY 1 LIMIT 3
      """
    ).map { try $0.get(0, as: String.self) }
    let names = owners.isEmpty ? "" : ", among them those of \(owners.joined(separator: ", "))"
    throw Problem(.inUse, "\(subnet.used) addresses of subnet \(subnet.name) are in use\(names); free them first")
  }
}

extension [SubnetPlan.HostRoute] {
  /// The JSON array as `jsonb` takes it.
  var jsonText: String { String(decoding: jsonBytes, as: UTF8.self) }
}

extension SubnetPlan.HostRoute: JSONWritable {
  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("destination", destination)
      writer.field("next_hop", nextHop)
    }
  }
}

extension [String] {
  /// The JSON array as `jsonb` takes it.
  var jsonText: String { String(decoding: jsonBytes, as: UTF8.self) }
}
