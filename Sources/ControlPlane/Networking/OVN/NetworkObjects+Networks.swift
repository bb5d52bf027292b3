import AloftModel
import Foundation
import IPAddressing
import JSON
import Northbound
import Postgres

extension NetworkObjects {
  /// The networks of projects, with their subnets.
  static func networks(_ which: Which, in session: Session) throws -> [NetworkModel.Object] {
    let condition = which.condition("w.id")
    let results = try session.pipeline([
      """
      SELECT w.id, w.project_id, w.name, w.mtu, w.dns_domain FROM networks w
       WHERE w.project_id IS NOT NULL AND \(fragment: condition)
      """,
      """
      SELECT s.network_id, s.id, s.cidr, s.gateway, s.configuration, s.dns_servers, s.host_routes, s.metadata_address
        FROM subnets s JOIN networks w ON w.id = s.network_id
       WHERE w.project_id IS NOT NULL AND \(fragment: condition) ORDER BY s.id
      """,
    ])
    let subnets = Dictionary(
      grouping: try results[1].map { (network: try $0.get(0, as: NetworkID.self), subnet: try subnet($0)) },
      by: \.network)
    return try results[0].map { row in
      let id = try row.get(0, as: NetworkID.self)
      return .network(
        NetworkModel.Network(
          id: id, project: try row.get(1), name: try row.get(2), mtu: try row.get(3), dnsDomain: try row.get(4),
          subnets: subnets[id]?.map(\.subnet) ?? []))
    }
  }

  private static func subnet(_ row: Row) throws -> NetworkModel.Subnet {
    let configuration = try row.get(4, as: SubnetConfiguration.self)
    return NetworkModel.Subnet(
      id: try row.get(1), cidr: try row.get(2), gateway: try row.get(3),
      configuration: .init(rawValue: configuration.rawValue) ?? .none, dnsServers: try row.get(5),
      hostRoutes: try routes(try row.get(6)), metadataAddress: try row.get(7))
  }

  /// Routes as a JSON array of `destination` and `next_hop`.
  static func routes(_ text: JSONText) throws -> [NetworkModel.Route] {
    try JSONValue.parse(text.text).arrayValue?.compactMap { route in
      guard let destination = route["destination"]?.stringValue.flatMap({ AddressBlock($0) }),
        let hop = route["next_hop"]?.stringValue.flatMap({ IPAddress($0) })
      else { return nil }
      return NetworkModel.Route(destination: destination, nextHop: hop)
    } ?? []
  }
}
