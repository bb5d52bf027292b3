import AloftModel
import Foundation
import IPAddressing
import Postgres

/// The operations on subnets.
struct SubnetHandlers: Sendable {
  let plane: Plane
  private let subnets: Resources<SubnetRecord>

  init(plane: Plane) {
    self.plane = plane
    subnets = Resources(plane, waking: [.networks])
  }

  func register(in table: inout HandlerTable) {
    table.on("listSubnets", list)
    table.on("getSubnet", subnets.get)
    table.on("createSubnet", create)
    table.on("updateSubnet", update)
    table.on("deleteSubnet", delete)
  }

  private struct CreateBody: Decodable {
    var name: String
    var network: String
    var labels: [String: String]?
    var cidr: String
    var gateway: String?
    var configuration: SubnetConfiguration?
    var dnsServers: [String]?
    var hostRoutes: [SubnetPlan.HostRoute]?
    var pools: [String]?
    var reserved: [String]?
  }

  private struct UpdateBody: Decodable {
    var name: String?
    var labels: [String: String]?
    var dnsServers: [String]?
    var hostRoutes: [SubnetPlan.HostRoute]?
  }

  private func list(_ call: Call) async throws -> Reply {
    try await subnets.list(call) { session in
      guard let reference = call.string("network") else { return "" }
      // A filter that matches nothing is an empty page, not an error.
      guard let network = try ResourceStore<NetworkRecord>.find(reference, call, in: session) else {
        return " AND false"
      }
      return " AND r.network_id = \(network.id)"
    }
  }

  private func create(_ call: Call) async throws -> Reply {
    let body = try call.decode(CreateBody.self)
    let gateway: SubnetPlan.Wish.Gateway =
      body.gateway.map { .at($0) } ?? (call.body?["gateway"] == nil ? .first : .none)
    let plan = try SubnetPlan(
      SubnetPlan.Wish(
        cidr: body.cidr, gateway: gateway, configuration: body.configuration, dnsServers: body.dnsServers ?? [],
        hostRoutes: body.hostRoutes ?? [], pools: body.pools, reserved: body.reserved ?? []))
    return try await subnets.create(call) { id, project, session in
      let network = try ResourceStore<NetworkRecord>.require(body.network, call, at: "/network", in: session)
      try SubnetStore.insert(
        id, plan, named: body.name, labels: body.labels ?? [:], network: network.id, project: project, in: session)
    }
  }

  /// What guests are told may change; addresses stay what they are.
  private func update(_ call: Call) async throws -> Reply {
    let body = try call.decode(UpdateBody.self)
    return try await subnets.update(call, name: body.name, labels: body.labels) { subnet, session in
      // Judged as if it were made now.
      let plan = try SubnetPlan(
        SubnetPlan.Wish(
          cidr: subnet.cidr.description, gateway: subnet.gateway.map { .at($0.description) } ?? .none,
          configuration: subnet.configuration, dnsServers: body.dnsServers ?? [], hostRoutes: body.hostRoutes ?? []))
      let servers = body.dnsServers.map { _ in plan.dnsServers }
      let routes = body.hostRoutes.map { _ in JSONText(plan.hostRoutes.jsonText) }
      try session.execute(
        """
        UPDATE subnets SET dns_servers = coalesce(\(servers)::inet[], dns_servers),
                           host_routes = coalesce(\(routes)::jsonb, host_routes)
         WHERE id = \(subnet.id)
        """)
    }
  }

  private func delete(_ call: Call) async throws -> Reply {
    try await subnets.delete(call) { subnet, session in
      try SubnetStore.refuseDeletion(of: subnet, in: session)
      try NICStore.announce(network: subnet.networkID, in: session)
    }
  }
}
