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

  /// The subnets of a network, oldest first.
  static func all(of network: UUID?, in session: Session) throws -> [SubnetRecord] {
    try session.query(
      """
      SELECT \(fragment: SubnetRecord.columns) FROM subnets r WHERE r.network_id = \(network) ORDER BY r.id
      """
    ).map { try SubnetRecord($0) }
  }

  /// How many addresses of a subnet somebody has. It costs as much as there are.
  static func used(of subnet: SubnetID, in session: Session) throws -> Int {
    let count = try session.one(
      "SELECT count(*) FROM addresses WHERE subnet_id = \(subnet) AND released_at IS NULL")
    return try count?.get(0) ?? 0
  }

  /// Some of those who have addresses of a subnet, in words; nil: nobody. `condition` is about the address `a`.
  static func owners(of subnet: SubnetRecord, _ condition: SQL = "", in session: Session) throws -> String? {
    try session.someNames(
      """
      SELECT DISTINCT coalesce('VM ' || v.name, 'router ' || o.name, 'load balancer ' || l.name, 'a floating IP')
        FROM addresses a LEFT JOIN nics n ON n.id = a.nic_id LEFT JOIN vms v ON v.id = n.vm_id
        LEFT JOIN routers o ON o.id = a.router_id LEFT JOIN load_balancers l ON l.id = a.load_balancer_id
       WHERE a.subnet_id = \(subnet.id) AND a.released_at IS NULL\(fragment: condition) ORDER BY 1
      """)
  }

  /// Refuses to delete a subnet that is in use, certain while it is locked.
  static func refuseDeletion(of subnet: SubnetRecord, in session: Session) throws {
    let isUsed: SQL = "SELECT 1 FROM addresses WHERE subnet_id = \(subnet.id) AND released_at IS NULL LIMIT 1"
    if try session.one(isUsed) != nil {
      let used = try used(of: subnet.id, in: session)
      // Whose they are is nobody's business where the subnet is everybody's.
      let owners = subnet.projectID == nil ? nil : try owners(of: subnet, in: session)
      let names = owners.map { ", among them those of \($0)" } ?? ""
      throw Problem(.inUse, "\(used) addresses of subnet \(subnet.name) are in use\(names); free them first")
    }
    let balancers = try session.someNames(
      """
      SELECT DISTINCT l.name FROM load_balancer_members m JOIN load_balancers l ON l.id = m.load_balancer_id
       WHERE m.subnet_id = \(subnet.id) ORDER BY 1
      """)
    if let balancers {
      throw Problem(.inUse, "load balancer \(balancers) has members in subnet \(subnet.name); remove them first")
    }
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
