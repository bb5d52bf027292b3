import AloftModel
import IPAddressing
import Postgres

/// What depends on a router. Certain while the router is locked.
enum RouterUse {
  /// Refuses to detach a subnet that something needs there.
  static func refuseDetaching(_ subnet: SubnetRecord, from router: RouterRecord, in session: Session) throws {
    let route = router.routes.first { IPAddress($0.nextHop).map { subnet.cidr.contains($0) } ?? false }
    if let route {
      throw Problem(
        .inUse,
        "router \(router.name) reaches \(route.destination) by \(route.nextHop) in subnet \(subnet.name); remove that route first"
      )
    }
    let users: [(SQL, String)] = [
      (
        """
        SELECT 'floating IP ' || host(a.address) FROM floating_ips f JOIN addresses a ON a.floating_ip_id = f.id
         WHERE f.subnet_id = \(subnet.id) ORDER BY 1
        """, "unassign it first"
      ),
      (
        """
        SELECT DISTINCT 'load balancer ' || l.name
          FROM load_balancers l JOIN load_balancer_members m ON m.load_balancer_id = l.id
          JOIN subnets s ON s.id = m.subnet_id
         WHERE s.network_id <> l.network_id AND \(subnet.id) = m.subnet_id ORDER BY 1
        """, "remove those of its members first that it reaches by the router"
      ),
      (
        "SELECT 'load balancer ' || name FROM load_balancers WHERE subnet_id = \(subnet.id) ORDER BY 1",
        "delete it first: only a router answers for its address"
      ),
      (
        """
        SELECT DISTINCT 'network peering ' || p.name FROM network_peerings p
         WHERE ((p.router_id, p.network_id) = (\(router.id), \(subnet.networkID))
             OR (p.peer_router_id, p.peer_network_id) = (\(router.id), \(subnet.networkID)))
           AND NOT EXISTS (SELECT 1 FROM router_interfaces i WHERE i.router_id = \(router.id)
                              AND i.network_id = \(subnet.networkID) AND i.subnet_id <> \(subnet.id)) ORDER BY 1
        """, "delete it first"
      ),
    ]
    for (query, way) in users {
      guard let names = try session.someNames(query) else { continue }
      throw Problem(.inUse, "\(names) needs subnet \(subnet.name) on router \(router.name); \(way)")
    }
  }

  /// Refuses another way out while somebody comes in by this one.
  static func refuseLeaving(_ router: RouterRecord, in session: Session) throws {
    let addresses = try session.someNames(
      """
      SELECT host(a.address) FROM router_interfaces i JOIN floating_ips f ON f.subnet_id = i.subnet_id
        JOIN addresses a ON a.floating_ip_id = f.id WHERE i.router_id = \(router.id) ORDER BY 1
      """)
    if let addresses {
      throw Problem.field(
        .inUse, "/external_network", "floating IP \(addresses) comes in by router \(router.name); unassign it first")
    }
    let external = try SubnetStore.all(of: router.externalNetworkID?.uuid, in: session)
    let route = router.routes.first { route in
      guard let hop = IPAddress(route.nextHop) else { return false }
      return external.contains { $0.cidr.contains(hop) }
    }
    if let route {
      throw Problem.field(
        .inUse, "/external_network",
        "the route to \(route.destination) leads by \(route.nextHop), which is there; change the routes too")
    }
  }

  static func refuseDeletion(of router: RouterRecord, in session: Session) throws {
    if router.interfaces.isEmpty { return }
    let names = router.interfaces.prefix(3).map(\.subnetName).joined(separator: ", ")
    throw Problem(
      .inUse,
      "router \(router.name) connects subnet \(names)\(router.interfaces.count > 3 ? " and others" : ""); detach them first"
    )
  }
}
