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
      SELECT w.id, w.name, w.physical_network, w.vlan FROM networks w
       WHERE w.project_id IS NULL AND \(fragment: which.condition("w.id"))
      """
    ).map { row in
      .externalNetwork(
        NetworkModel.ExternalNetwork(
          id: try row.get(0), name: try row.get(1), physicalNetwork: try row.get(2), vlan: try row.get(3)))
    }
  }

  /// How many nodes a router's way out may go through: OVN fails over by itself where three know each other.
  private static let gatewayNodes = 5

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
             \(fragment: outside("array_agg(s.gateway ORDER BY family(a.address)) FILTER (WHERE s.gateway IS NOT NULL)")),
             (SELECT array_agg(n.id) FROM (
                SELECT n.id FROM nodes n JOIN networks w ON w.id = r.external_network_id
                 WHERE n.networking ->> 'problem' IS NULL AND n.networking -> 'physical_networks' ? w.physical_network
                 -- Each router has an order of its own, so that their load is spread, and it changes only with the node itself.
                 ORDER BY md5(n.id::text || r.id::text) LIMIT \(gatewayNodes)) n)
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
      nextHops: try row.get(9, as: [IPAddress]?.self) ?? [], usesSNAT: try row.get(6),
      chassis: (try row.get(10, as: [UUID]?.self) ?? []).map { NodeID($0) })
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
        JOIN addresses a ON a.nic_id = f.nic_id AND a.subnet_id = f.subnet_id
       WHERE \(fragment: which.condition("f.id"))
      """
    ).map { row in
      .floatingIP(
        NetworkModel.FloatingIP(
          id: try row.get(0), router: try row.get(1), address: try row.get(2), nic: try row.get(3),
          fixedAddress: try row.get(4), mac: try row.get(5)))
    }
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
