import AloftModel
import Foundation
import IPAddressing
import JSON
import Northbound
import Postgres

extension NetworkObjects {
  /// The networks outside, which nodes have bridges to.
  static func externalNetworks(_ which: Which, in session: Session) throws -> [NetworkModel.Object] {
    try session.query(
      """
      SELECT w.id, w.name, w.physical_network, w.vlan, w.mtu,
             (SELECT array_agg(b.project_id ORDER BY b.cidr) FROM routed_blocks b WHERE b.network_id = w.id),
             (SELECT array_agg(b.cidr ORDER BY b.cidr) FROM routed_blocks b WHERE b.network_id = w.id),
             p.nodes, p.spared
        FROM networks w
        LEFT JOIN (
          SELECT physical_network, array_agg(n.id) AS nodes, array_agg(n.id) FILTER (WHERE NOT n.schedulable) AS spared
            FROM (SELECT *, withdrawn_at IS NOT NULL AS gone,
                         bool_and(withdrawn_at IS NOT NULL) OVER (PARTITION BY physical_network) AS all_gone
                    FROM node_physical_networks) p
            JOIN nodes n ON n.id = p.node_id
           WHERE gone = all_gone GROUP BY physical_network) p USING (physical_network)
       WHERE w.project_id IS NULL AND \(fragment: which.condition("w.id"))
      """
    ).map { row in
      let projects = try row.get(5, as: [UUID]?.self) ?? []
      let blocks = try row.get(6, as: [AddressBlock]?.self) ?? []
      return .externalNetwork(
        NetworkModel.ExternalNetwork(
          id: try row.get(0), name: try row.get(1), physicalNetwork: try row.get(2), vlan: try row.get(3),
          mtu: try row.get(4), routedBlocks: zip(projects, blocks).map { .init(project: ProjectID($0), cidr: $1) },
          nodes: try nodes(row, 7), sparedNodes: try nodes(row, 8)))
    }
  }

  private static func nodes(_ row: Row, _ column: Int) throws -> Set<NodeID> {
    Set((try row.get(column, as: [UUID]?.self) ?? []).map { NodeID($0) })
  }

  /// Something about the addresses that router `r` has on its external network.
  private static func outside(_ aggregate: SQL) -> SQL {
    """
    (SELECT \(fragment: aggregate) FROM addresses a JOIN subnets s ON s.id = a.subnet_id
      WHERE a.router_id = r.id AND s.network_id = r.external_network_id)
    """
  }

  static func routers(_ which: Which, in session: Session) throws -> [NetworkModel.Object] {
    let condition = which.condition("r.id")
    let results = try session.pipeline([
      """
      SELECT r.id, r.project_id, r.name, r.routes, r.external_network_id, r.external_mac, r.snat,
             \(fragment: outside("array_agg(a.address ORDER BY family(a.address))")),
             \(fragment: outside("array_agg(masklen(s.cidr) ORDER BY family(a.address))")),
             \(fragment: outside("array_agg(s.gateway ORDER BY family(a.address)) FILTER (WHERE s.gateway IS NOT NULL)"))
        FROM routers r WHERE \(fragment: condition)
      """,
      """
      SELECT i.router_id, i.network_id, i.mac, i.subnet_id, s.gateway
        FROM router_interfaces i JOIN subnets s ON s.id = i.subnet_id JOIN routers r ON r.id = i.router_id
       WHERE s.gateway IS NOT NULL AND \(fragment: condition) ORDER BY i.network_id, i.subnet_id
      """,
    ])
    var interfaces: [RouterID: [NetworkModel.Router.Interface]] = [:]
    for row in results[1] {
      let (router, network) = (try row.get(0, as: RouterID.self), try row.get(1, as: NetworkID.self))
      let address = NetworkModel.Router.Interface.Address(subnet: try row.get(3), address: try row.get(4))
      var ports = interfaces[router] ?? []
      // Subnets of one network share a port.
      if let last = ports.indices.last, ports[last].network == network {
        ports[last].addresses.append(address)
      } else {
        ports.append(NetworkModel.Router.Interface(network: network, mac: try row.get(2), addresses: [address]))
      }
      interfaces[router] = ports
    }
    return try results[0].map { row in
      let id = try row.get(0, as: RouterID.self)
      return .router(
        NetworkModel.Router(
          id: id, project: try row.get(1), name: try row.get(2), interfaces: interfaces[id] ?? [],
          routes: try routes(try row.get(3)), gateway: try gateway(row)))
    }
  }

  private static func gateway(_ row: Row) throws -> NetworkModel.Router.Gateway? {
    guard let network = try row.get(4, as: ExternalNetworkID?.self), let mac = try row.get(5, as: MACAddress?.self)
    else {
      return nil
    }
    let addresses = try row.get(7, as: [IPAddress]?.self) ?? []
    let lengths = try row.get(8, as: [Int]?.self) ?? []
    return NetworkModel.Router.Gateway(
      externalNetwork: network, mac: mac,
      addresses: zip(addresses, lengths).map { .init(address: $0, prefixLength: $1) },
      nextHops: try row.get(9, as: [IPAddress]?.self) ?? [], usesSNAT: try row.get(6))
  }

  /// Those that lead to a NIC; its router is the one that its subnet has.
  static func floatingIPs(_ which: Which, in session: Session) throws -> [NetworkModel.Object] {
    try session.query(
      """
      SELECT f.id, i.router_id, e.address, f.nic_id, a.address, f.mac
        FROM floating_ips f
        JOIN addresses e ON e.floating_ip_id = f.id
        JOIN router_interfaces i ON i.subnet_id = f.subnet_id
        JOIN nics n ON n.id = f.nic_id AND n.deleted_at IS NULL
        JOIN \(fragment: firstAddress(of: "f")) a ON true
       WHERE \(fragment: which.condition("f.id"))
      """
    ).map { row in
      .floatingIP(
        NetworkModel.FloatingIP(
          id: try row.get(0), router: try row.get(1), address: try row.get(2), nic: try row.get(3),
          fixedAddress: try row.get(4), mac: try row.get(5)))
    }
  }

  /// The address that is meant where a NIC is named with a subnet, in which it may have several: the first one.
  static func firstAddress(of owner: SQL) -> SQL {
    """
    LATERAL (SELECT min(address) AS address FROM addresses
              WHERE nic_id = \(fragment: owner).nic_id AND subnet_id = \(fragment: owner).subnet_id
             HAVING count(*) > 0)
    """
  }

  static func peerings(_ which: Which, in session: Session) throws -> [NetworkModel.Object] {
    let blocks: SQL = """
      (SELECT array_agg(s.cidr ORDER BY s.cidr) FROM router_interfaces i JOIN subnets s ON s.id = i.subnet_id
      """
    return try session.query(
      """
      SELECT p.id, p.link, p.router_id, p.mac,
             \(fragment: blocks) WHERE i.router_id = p.router_id AND i.network_id = p.network_id),
             p.peer_router_id, p.peer_mac,
             \(fragment: blocks) WHERE i.router_id = p.peer_router_id AND i.network_id = p.peer_network_id)
        FROM network_peerings p WHERE \(fragment: which.condition("p.id"))
      """
    ).map { row in
      let link = PeeringLink(number: try row.get(1))
      func side(_ end: Int, from first: Int) throws -> NetworkModel.Peering.Side {
        NetworkModel.Peering.Side(
          router: try row.get(first), mac: try row.get(first + 1),
          addresses: link.addresses(of: end).map { .init(address: $0.address, prefixLength: $0.prefixLength) },
          reachable: try row.get(first + 2, as: [AddressBlock]?.self) ?? [])
      }
      return .peering(
        NetworkModel.Peering(id: try row.get(0), first: try side(0, from: 2), second: try side(1, from: 5)))
    }
  }
}
