import AloftModel
import Foundation
import IPAddressing
import Postgres

/// What a router is connected with. All of it happens while the router is locked.
enum RouterStore {
  /// Leads a router out to an external network, or nowhere. It gets an address of each family there.
  static func connect(
    _ router: RouterID, to network: ExternalNetworkRecord?, mac: MACAddress, seed: UInt64, in session: Session
  ) throws {
    try session.execute(
      """
      UPDATE addresses a SET router_id = NULL FROM routers r JOIN subnets s ON s.network_id = r.external_network_id
       WHERE r.id = \(router) AND a.router_id = r.id AND a.subnet_id = s.id
      """)
    try session.execute(
      """
      UPDATE routers SET external_network_id = \(network?.id), external_mac = \(network.map { _ in mac })
       WHERE id = \(router)
      """)
    guard let network else { return }
    let subnets = try SubnetStore.all(of: network.id.uuid, in: session)
    guard !subnets.isEmpty else {
      throw Problem.field(
        .wrongState, "/external_network",
        "external network \(network.name) has no subnet, so a router gets no address there; an operator has to make one"
      )
    }
    try takeAddresses(of: subnets, for: router, seed: seed, in: session)
  }

  /// Gives a router an address of each family that its external network has got since.
  static func complete(_ router: RouterRecord, at network: ExternalNetworkRecord, seed: UInt64, in session: Session)
    throws
  {
    let families = Set(router.externalAddresses.map(\.isIPv6))
    let subnets = try SubnetStore.all(of: network.id.uuid, in: session).filter { !families.contains($0.cidr.isIPv6) }
    try takeAddresses(of: subnets, for: router.id, seed: seed, in: session)
  }

  private static func takeAddresses(of subnets: [SubnetRecord], for router: RouterID, seed: UInt64, in session: Session)
    throws
  {
    for subnet in subnets {
      try refuseOverlap(of: subnet, with: router, at: "/external_network", in: session)
    }
    for family in Dictionary(grouping: subnets, by: \.cidr.isIPv6).values {
      _ = try AddressTaking.takeAny(
        of: family, for: .router(router), seed: seed, at: "/external_network", in: session)
    }
  }

  /// Attaches a subnet, whose gateway becomes the router's address there.
  static func attach(
    _ subnet: SubnetRecord, to router: RouterRecord, mac: MACAddress, in session: Session
  ) throws {
    guard let gateway = subnet.gateway else {
      throw Problem(
        .wrongState, "subnet \(subnet.name) has no gateway, which would be the router's address; make one that has")
    }
    try hold(subnet, in: session)
    let other = try session.one(
      """
      SELECT r.name FROM router_interfaces i JOIN routers r ON r.id = i.router_id WHERE i.subnet_id = \(subnet.id)
      """)
    if let other {
      throw Problem(
        .inUse, "subnet \(subnet.name) has a router, \(try other.get(0, as: String.self)); detach it there first")
    }
    try refuseOverlap(of: subnet, with: router.id, in: session)
    for other in try lockLinked(with: router.id, by: subnet.networkID, in: session) {
      try refuseOverlap(of: subnet, with: other, in: session)
    }
    try AddressTaking.take(gateway, of: subnet, for: .router(router.id), at: "", in: session)
    // Subnets of one network share a port.
    try session.execute(
      """
      INSERT INTO router_interfaces (subnet_id, router_id, network_id, mac)
      VALUES (\(subnet.id), \(router.id), \(subnet.networkID), coalesce(
        (SELECT mac FROM router_interfaces WHERE router_id = \(router.id) AND network_id = \(subnet.networkID) LIMIT 1), \(mac)))
      """,
      unique: "router_interfaces_pkey",
      else: Problem(.inUse, "subnet \(subnet.name) was attached to another router a moment ago"))
  }

  /// Neither a subnet nor its network goes from here on. The network comes first: who deletes it locks them in that order.
  private static func hold(_ subnet: SubnetRecord, in session: Session) throws {
    let held = try session.pipeline([
      "SELECT 1 FROM networks WHERE id = \(subnet.networkID) FOR KEY SHARE",
      "SELECT 1 FROM subnets WHERE id = \(subnet.id) FOR KEY SHARE",
    ])
    if held.contains(where: \.isEmpty) {
      throw Problem(.wrongState, "subnet \(subnet.name) was deleted a moment ago; look again")
    }
  }

  static func detach(_ subnet: SubnetRecord, from router: RouterRecord, in session: Session) throws {
    try RouterUse.refuseDetaching(subnet, from: router, in: session)
    try session.execute("DELETE FROM router_interfaces WHERE subnet_id = \(subnet.id)")
    try AddressTaking.giveBack(of: .router(router.id), in: subnet.id, in: session)
  }

  /// Refuses a subnet that overlaps one that a router knows a way to, and names both.
  static func refuseOverlap(
    of subnet: SubnetRecord, with router: RouterID, at pointer: String? = nil, in session: Session
  ) throws {
    let row = try session.one(
      """
      SELECT r.name, s.name, s.cidr FROM routers r CROSS JOIN LATERAL (
        SELECT subnet_id, name, cidr FROM aloft_routed_subnets(r.id)
         UNION ALL
        SELECT id, name, cidr FROM subnets WHERE network_id = r.external_network_id) s
       WHERE r.id = \(router) AND s.cidr && \(subnet.cidr)::cidr AND s.subnet_id <> \(subnet.id)
       LIMIT 1
      """)
    guard let row else { return try refuseRoute(to: subnet, of: router, at: pointer, in: session) }
    let (router, other): (String, String) = (try row.get(0), try row.get(1))
    let detail =
      "subnet \(subnet.name) (\(subnet.cidr)) overlaps subnet \(other) (\(try row.get(2, as: AddressBlock.self))), which router \(router) leads to"
    throw pointer.map { .field(.addressesOverlap, $0, detail) } ?? Problem(.addressesOverlap, detail)
  }

  /// Refuses a subnet that a router has a route to: there would be two ways of one length.
  private static func refuseRoute(
    to subnet: SubnetRecord, of router: RouterID, at pointer: String?, in session: Session
  ) throws {
    let row = try session.one(
      """
      SELECT r.name, w ->> 'next_hop' FROM routers r CROSS JOIN LATERAL jsonb_array_elements(r.routes) w
       WHERE r.id = \(router) AND (w ->> 'destination')::cidr = \(subnet.cidr)::cidr LIMIT 1
      """)
    guard let row else { return }
    let detail =
      "router \(try row.get(0, as: String.self)) has a route to subnet \(subnet.name) (\(subnet.cidr)) by \(try row.get(1, as: String.self)); remove that first"
    throw pointer.map { .field(.addressesOverlap, $0, detail) } ?? Problem(.addressesOverlap, detail)
  }

  /// Locks the routers that are linked with one by a peering of this network. Two routers that grow at once wait for each other, and
  /// PostgreSQL begins one of both anew.
  private static func lockLinked(with router: RouterID, by network: NetworkID, in session: Session) throws -> [RouterID]
  {
    try session.query(
      """
      SELECT id FROM routers WHERE id IN (
        SELECT peer_router_id FROM network_peerings WHERE (router_id, network_id) = (\(router), \(network))
         UNION SELECT router_id FROM network_peerings WHERE (peer_router_id, peer_network_id) = (\(router), \(network)))
       ORDER BY id FOR NO KEY UPDATE
      """
    ).map { try $0.get(0) }
  }

  /// The routes that a caller wants, each to another block by way of a neighbour: who is in a subnet that the router has an address of.
  static func routes(_ wishes: [SubnetPlan.HostRoute], of router: RouterID, in session: Session) throws
    -> [SubnetPlan.HostRoute]
  {
    let neighbours = try session.query(
      """
      SELECT s.cidr, s.gateway, false FROM router_interfaces i JOIN subnets s ON s.id = i.subnet_id WHERE i.router_id = \(router)
       UNION ALL
      SELECT s.cidr, s.gateway, true FROM addresses a JOIN routers r ON r.id = a.router_id
        JOIN subnets s ON s.id = a.subnet_id AND s.network_id = r.external_network_id
       WHERE r.id = \(router)
      """
    ).map { Neighbour(block: try $0.get(0), gateway: try $0.get(1), isExternal: try $0.get(2)) }
    let reached = try session.query(
      "SELECT cidr, name, peering_id IS NOT NULL FROM aloft_routed_subnets(\(router))"
    ).map { ReachedSubnet(block: try $0.get(0), name: try $0.get(1), isPeered: try $0.get(2)) }
    return try RoutePlan.routes(wishes, among: neighbours, besides: reached)
  }
}
