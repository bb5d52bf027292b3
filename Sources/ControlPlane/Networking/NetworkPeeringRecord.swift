import AloftModel
import Foundation
import JSON
import Postgres

/// A peering of two networks as the API shows it.
struct NetworkPeeringRecord: Resource {
  typealias Kind = NetworkPeeringKind

  static let noun = Noun(
    word: "network peering", path: "network-peerings", table: "network_peerings", uniqueName: "network_peerings_name",
    created: .networkPeeringCreated, updated: .networkPeeringUpdated, deleted: .networkPeeringDeleted)

  var id: NetworkPeeringID
  var projectID: ProjectID?
  var name: String
  /// JSON, passed through.
  var labels: String
  var networkID: NetworkID
  var routerID: RouterID
  var peerNetworkID: NetworkID
  var peerRouterID: RouterID
  /// Why OVN does not have it as it is.
  var problem: String?
  var revision: Int
  var createdAt: Date
  var updatedAt: Date

  static let columns: SQL = """
    r.id, r.project_id, r.name, r.labels, r.network_id, r.router_id, r.peer_network_id, r.peer_router_id, r.revision,
    r.created_at, r.updated_at, \(fragment: NetworkRefusals.problem("peering"))
    """

  init(_ row: Row) throws {
    id = try row.get(0)
    projectID = try row.get(1)
    name = try row.get(2)
    labels = try row.get(3, as: JSONText.self).text
    networkID = try row.get(4)
    routerID = try row.get(5)
    peerNetworkID = try row.get(6)
    peerRouterID = try row.get(7)
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
      writer.field("router_id", routerID)
      writer.field("peer_network_id", peerNetworkID)
      writer.field("peer_router_id", peerRouterID)
      writer.field("problem", problem)
      writer.key("labels")
      writer.raw(labels)
      writer.field("created_at", createdAt)
      writer.field("updated_at", updatedAt)
    }
  }
}
