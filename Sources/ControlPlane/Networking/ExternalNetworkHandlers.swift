import AloftModel
import Foundation
import IPAddressing
import Postgres

/// The operations on external networks and their subnets.
struct ExternalNetworkHandlers: Sendable {
  let plane: Plane
  let networks: Resources<ExternalNetworkRecord>
  private let subnets: Resources<ExternalSubnetRecord>

  init(plane: Plane) {
    self.plane = plane
    networks = Resources(plane, waking: [.networks])
    subnets = Resources(plane, waking: [.networks])
  }

  func register(in table: inout HandlerTable) {
    table.on("listExternalNetworks") { try await networks.list($0) }
    table.on("getExternalNetwork", networks.get)
    table.on("createExternalNetwork", create)
    table.on("updateExternalNetwork", update)
    table.on("deleteExternalNetwork", delete)
    table.on("listExternalSubnets", listSubnets)
    table.on("getExternalSubnet", getSubnet)
    table.on("createExternalSubnet", createSubnet)
    table.on("deleteExternalSubnet", deleteSubnet)
    registerRoutedBlocks(in: &table)
  }

  private struct CreateBody: Decodable {
    var name: String
    var labels: [String: String]?
    var physicalNetwork: String
    var vlan: Int?
    var mtu: Int?
  }

  private struct UpdateBody: Decodable {
    var name: String?
    var labels: [String: String]?
    var mtu: Int?
  }

  private struct SubnetBody: Decodable {
    var name: String
    var labels: [String: String]?
    var cidr: String
    var gateway: String?
    var pools: [String]?
  }

  private func create(_ call: Call) async throws -> Reply {
    let body = try call.decode(CreateBody.self)
    return try await networks.create(call) { id, _, session in
      try session.execute(
        """
        INSERT INTO networks (id, name, labels, mtu, physical_network, vlan)
        VALUES (\(id), \(body.name), \(JSONText((body.labels ?? [:]).jsonText))::jsonb, \(body.mtu ?? 1500),
                \(body.physicalNetwork), \(body.vlan))
        """
      ) { error in
        guard error.isUniqueViolation("networks_wire") else {
          return ResourceStore<ExternalNetworkRecord>.refusal(of: error, name: body.name)
        }
        let wire = body.vlan.map { "VLAN \($0)" } ?? "what is untagged"
        return Problem.field(
          .inUse, body.vlan == nil ? "/physical_network" : "/vlan",
          "\(wire) of \(body.physicalNetwork) is another external network already; say another vlan")
      }
    }
  }

  private func update(_ call: Call) async throws -> Reply {
    let body = try call.decode(UpdateBody.self)
    return try await networks.update(call, name: body.name, labels: body.labels) { network, session in
      guard let mtu = body.mtu else { return }
      try session.execute("UPDATE networks SET mtu = \(mtu) WHERE id = \(network.id)")
    }
  }

  private func delete(_ call: Call) async throws -> Reply {
    try await networks.delete(call) { network, session in
      try ExternalNetworkUse.refuse(network, in: session)
      try session.execute("DELETE FROM subnets WHERE network_id = \(network.id)")
    }
  }

  private func listSubnets(_ call: Call) async throws -> Reply {
    try await subnets.list(call) { session in
      " AND r.network_id = \(try ResourceStore<ExternalNetworkRecord>.require(call, in: session).id)"
    }
  }

  private func getSubnet(_ call: Call) async throws -> Reply {
    let subnet = try await plane.database.run { session in
      try requireParent(
        of: try ResourceStore<ExternalSubnetRecord>.require(call, shown: true, in: session), call, in: session)
    }
    return .json(subnet, etag: subnet.etag)
  }

  private func createSubnet(_ call: Call) async throws -> Reply {
    let body = try call.decode(SubnetBody.self)
    let gateway: SubnetPlan.Wish.Gateway =
      body.gateway.map { .at($0) } ?? (call.body?["gateway"] == nil ? .first : .none)
    let plan = try SubnetPlan(
      SubnetPlan.Wish(cidr: body.cidr, gateway: gateway, pools: body.pools, isExternal: true))
    return try await subnets.create(call) { id, _, session in
      // Locked, so that no block that is routed there comes meanwhile.
      let network = try ResourceStore<ExternalNetworkRecord>.require(call, in: session)
      try session.execute("SELECT 1 FROM networks WHERE id = \(network.id) FOR NO KEY UPDATE")
      try RoutedBlocks.refuseOverlap(of: plan.cidr, with: network, in: session)
      try SubnetStore.insert(
        id, plan, named: body.name, labels: body.labels ?? [:], network: NetworkID(network.id.uuid), project: nil,
        in: session)
    }
  }

  private func deleteSubnet(_ call: Call) async throws -> Reply {
    try await subnets.delete(call) { subnet, session in
      _ = try requireParent(of: subnet, call, in: session)
      try SubnetStore.refuseDeletion(of: subnet.subnet, in: session)
    }
  }

  /// The subnet, if it is of the network that the path names.
  private func requireParent(of subnet: ExternalSubnetRecord, _ call: Call, in session: Session) throws
    -> ExternalSubnetRecord
  {
    let network = try ResourceStore<ExternalNetworkRecord>.require(call, in: session)
    guard subnet.externalNetworkID == network.id else {
      throw Problem(.notFound, "external network \(network.name) has no subnet \(subnet.name)")
    }
    return subnet
  }
}

/// What stands in the way of an external network's deletion.
enum ExternalNetworkUse {
  /// Refuses with how many use it, certain while it is locked: their projects are nobody else's business.
  static func refuse(_ network: ExternalNetworkRecord, in session: Session) throws {
    guard
      let row = try session.one(
        """
        SELECT (SELECT count(*) FROM routers WHERE external_network_id = \(network.id)),
               (SELECT count(*) FROM floating_ips WHERE network_id = \(network.id))
        """)
    else { return }
    let (routers, addresses): (Int, Int) = (try row.get(0), try row.get(1))
    if routers + addresses == 0 { return }
    throw Problem(
      .inUse,
      "external network \(network.name) is in use by \(routers) router\(routers == 1 ? "" : "s") and \(addresses) floating IP\(addresses == 1 ? "" : "s"); they have to go first"
    )
  }
}
