import AloftModel
import Foundation
import IPAddressing
import Postgres

/// What two networks need to be peered.
enum NetworkPeeringStore {
  /// How many links a router can have.
  private static let mostLinks = 8191

  /// The routers of two networks, which are locked from now on and will lead nowhere twice, and the number of a link between them
  /// that is free.
  static func link(_ near: NetworkRecord, _ far: NetworkRecord, in session: Session) throws -> (
    router: RouterID, peerRouter: RouterID, number: Int
  ) {
    guard near.id != far.id else {
      throw Problem.field(.outOfRange, "/peer_network", "a network is not peered with itself; name another one")
    }
    let networks = [near.id.uuid, far.id.uuid]
    let held = try session.query(
      """
      SELECT id FROM routers WHERE id IN (SELECT router_id FROM router_interfaces WHERE network_id = ANY(\(networks)))
       ORDER BY id FOR NO KEY UPDATE
      """
    ).map { try $0.get(0, as: RouterID.self) }
    let (one, other) = (
      try router(of: near, at: "/network", in: session), try router(of: far, at: "/peer_network", in: session)
    )
    guard held.contains(one.id), held.contains(other.id) else {
      throw Problem(.wrongState, "networks \(near.name) and \(far.name) have just got other routers; try again")
    }
    guard one.id != other.id else {
      throw Problem.field(
        .wrongState, "/peer_network",
        "router \(one.name) connects networks \(near.name) and \(far.name) already; they need no peering")
    }
    for (network, router, opposite) in [(far, other, one), (near, one, other)] {
      for subnet in try subnets(of: network, on: router.id, in: session) {
        try RouterStore.refuseOverlap(of: subnet, with: opposite.id, at: "/peer_network", in: session)
      }
    }
    let free = try session.one(
      """
      SELECT min(n) FROM generate_series(0, \(mostLinks)::integer) n
       WHERE n <> \(PeeringLink.metadataNumber) AND NOT EXISTS (
        SELECT 1 FROM network_peerings p WHERE p.link = n AND (p.router_id IN (\(one.id), \(other.id))
                                                            OR p.peer_router_id IN (\(one.id), \(other.id))))
      """)
    guard let number = try free?.get(0, as: Int?.self) else {
      throw Problem(.limitReached, "a router has at most \(mostLinks) peerings; delete one first")
    }
    return (one.id, other.id, number)
  }

  private static func router(of network: NetworkRecord, at pointer: String, in session: Session) throws -> (
    id: RouterID, name: String
  ) {
    let routers = try session.query(
      """
      SELECT DISTINCT r.id, r.name FROM router_interfaces i JOIN routers r ON r.id = i.router_id
       WHERE i.network_id = \(network.id) ORDER BY r.name
      """
    ).map { (id: try $0.get(0, as: RouterID.self), name: try $0.get(1, as: String.self)) }
    guard let router = routers.first else {
      throw Problem.field(
        .wrongState, pointer, "network \(network.name) has no router; attach one of its subnets to one first")
    }
    guard routers.count == 1 else {
      throw Problem.field(
        .wrongState, pointer,
        "network \(network.name) has several routers, \(routers.map(\.name).joined(separator: ", ")); a peering needs the one"
      )
    }
    return router
  }

  private static func subnets(of network: NetworkRecord, on router: RouterID, in session: Session) throws
    -> [SubnetRecord]
  {
    try session.query(
      """
      SELECT \(fragment: SubnetRecord.columns) FROM subnets r JOIN router_interfaces i ON i.subnet_id = r.id
       WHERE i.router_id = \(router) AND i.network_id = \(network.id) ORDER BY r.id
      """
    ).map { try SubnetRecord($0) }
  }
}
