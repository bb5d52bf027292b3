import AloftModel
import Foundation
import IPAddressing
import Postgres

/// The operations on peerings of networks.
struct NetworkPeeringHandlers: Sendable {
  let plane: Plane
  private let peerings: Resources<NetworkPeeringRecord>

  init(plane: Plane) {
    self.plane = plane
    peerings = Resources(plane, waking: [.networks])
  }

  func register(in table: inout HandlerTable) {
    table.on("listNetworkPeerings") { try await peerings.list($0) }
    table.on("getNetworkPeering", peerings.get)
    table.on("createNetworkPeering", create)
    table.on("updateNetworkPeering", update)
    table.on("deleteNetworkPeering") { try await peerings.delete($0) }
  }

  private struct CreateBody: Decodable {
    var name: String
    var labels: [String: String]?
    var network: String
    var peerNetwork: String
  }

  private struct UpdateBody: Decodable {
    var name: String?
    var labels: [String: String]?
  }

  private func create(_ call: Call) async throws -> Reply {
    let body = try call.decode(CreateBody.self)
    let macs = (0..<2).map { _ in MACAddress(locallyAdministered: plane.environment.random()) }
    return try await peerings.create(call) { id, project, session in
      let near = try ResourceStore<NetworkRecord>.require(body.network, call, at: "/network", in: session)
      let far = try ResourceStore<NetworkRecord>.require(body.peerNetwork, call, at: "/peer_network", in: session)
      let link = try NetworkPeeringStore.link(near, far, in: session)
      try session.execute(
        """
        INSERT INTO network_peerings (id, project_id, name, labels, network_id, router_id, mac, peer_network_id,
                                      peer_router_id, peer_mac, link)
        VALUES (\(id), \(project), \(body.name), \(JSONText((body.labels ?? [:]).jsonText))::jsonb, \(near.id),
                \(link.router), \(macs[0]), \(far.id), \(link.peerRouter), \(macs[1]), \(link.number))
        """
      ) { error in
        if error.isUniqueViolation("network_peerings_pair") {
          return .field(.inUse, "/peer_network", "networks \(near.name) and \(far.name) have a peering already")
        }
        return ResourceStore<NetworkPeeringRecord>.refusal(of: error, name: body.name)
      }
    }
  }

  private func update(_ call: Call) async throws -> Reply {
    let body = try call.decode(UpdateBody.self)
    return try await peerings.update(call, name: body.name, labels: body.labels)
  }
}
