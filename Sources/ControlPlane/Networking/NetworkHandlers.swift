import AloftModel
import Foundation
import Postgres

/// The operations on networks.
struct NetworkHandlers: Sendable {
  let plane: Plane
  private let networks: Resources<NetworkRecord>

  init(plane: Plane) {
    self.plane = plane
    networks = Resources(plane, waking: [.networks])
  }

  func register(in table: inout HandlerTable) {
    table.on("listNetworks") { try await networks.list($0) }
    table.on("getNetwork", networks.get)
    table.on("createNetwork", create)
    table.on("updateNetwork", update)
    table.on("deleteNetwork", delete)
    table.on("getNetworkTopology", topology)
  }

  private struct CreateBody: Decodable {
    var name: String
    var labels: [String: String]?
    var mtu: Int?
    var dnsDomain: String?
  }

  private struct UpdateBody: Decodable {
    var name: String?
    var labels: [String: String]?
    var mtu: Int?
    var dnsDomain: String?
  }

  private func create(_ call: Call) async throws -> Reply {
    let body = try call.decode(CreateBody.self)
    try check(mtu: body.mtu)
    let mtu = body.mtu ?? plane.settings.networking.largestMTU
    let domain = body.dnsDomain ?? plane.settings.networking.dnsDomain
    return try await networks.create(call) { id, project, session in
      try session.execute(
        """
        INSERT INTO networks (id, project_id, name, labels, mtu, dns_domain)
        VALUES (\(id), \(project), \(body.name), \(JSONText((body.labels ?? [:]).jsonText))::jsonb, \(mtu), \(domain))
        """
      ) { ResourceStore<NetworkRecord>.refusal(of: $0, name: body.name) }
    }
  }

  private func update(_ call: Call) async throws -> Reply {
    let body = try call.decode(UpdateBody.self)
    try check(mtu: body.mtu)
    return try await networks.update(call, name: body.name, labels: body.labels) { network, session in
      try session.execute(
        """
        UPDATE networks SET mtu = coalesce(\(body.mtu), mtu), dns_domain = coalesce(\(body.dnsDomain), dns_domain)
         WHERE id = \(network.id)
        """)
      if body.mtu != nil || body.dnsDomain != nil || body.name != nil {
        try NICStore.announce(network: network.id, in: session)
      }
    }
  }

  private func delete(_ call: Call) async throws -> Reply {
    try await networks.delete(call) { network, session in
      try NetworkUse.refuse(network, in: session)
      try session.execute("DELETE FROM subnets WHERE network_id = \(network.id)")
    }
  }

  private func topology(_ call: Call) async throws -> Reply {
    let document = try await plane.database.run { session in
      try NetworkTopology.document(of: try ResourceStore<NetworkRecord>.require(call, in: session), in: session)
    }
    return .json(document)
  }

  private func check(mtu: Int?) throws {
    let most = plane.settings.networking.largestMTU
    if let mtu, mtu > most {
      throw Problem.field(.outOfRange, "/mtu", "the network between the nodes carries packets of at most \(most) bytes")
    }
  }
}

/// What stands in the way of a network's deletion.
enum NetworkUse {
  /// Refuses with the names of what is on it, certain while the network is locked.
  static func refuse(_ network: NetworkRecord, in session: Session) throws {
    let users: [(SQL, String)] = [
      (
        "SELECT DISTINCT v.name FROM nics n JOIN vms v ON v.id = n.vm_id WHERE n.network_id = \(network.id) ORDER BY 1",
        "delete their NICs on it first"
      ),
      (
        """
        SELECT DISTINCT 'load balancer ' || name FROM load_balancers WHERE network_id = \(network.id) ORDER BY 1
        """, "delete it first"
      ),
      (
        """
        SELECT DISTINCT 'peering ' || name FROM network_peerings WHERE \(network.id) IN (network_id, peer_network_id)
         ORDER BY 1
        """, "delete it first"
      ),
      (
        """
        SELECT DISTINCT 'router ' || r.name FROM router_interfaces i JOIN routers r ON r.id = i.router_id
         WHERE i.network_id = \(network.id) ORDER BY 1
        """, "detach the network's subnets from it first"
      ),
    ]
    for (query, way) in users {
      guard let names = try session.someNames(query) else { continue }
      throw Problem(.inUse, "network \(network.name) is in use by \(names); \(way)")
    }
  }
}
