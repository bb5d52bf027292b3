import AloftModel
import Foundation
import IPAddressing
import Northbound
import Postgres

/// What the database says of networks, as OVN's model of them.
enum NetworkObjects {
  /// An object as `network_changes` names it.
  struct Name: Sendable, Hashable {
    var kind: String
    var id: UUID

    init(kind: String, id: UUID) {
      self.kind = kind
      self.id = id
    }

    init(of object: NetworkModel.ObjectID) {
      id = object.uuid
      kind =
        switch object {
        case .network: "network"
        case .externalNetwork: "external_network"
        case .nic: "nic"
        case .router: "router"
        case .securityGroup: "security_group"
        case .floatingIP: "floating_ip"
        case .loadBalancer: "load_balancer"
        case .peering: "peering"
        }
    }
  }

  /// Which objects of a kind are wanted.
  enum Which: Sendable {
    case all
    case these([UUID])

    /// The condition, to follow `WHERE`.
    func condition(_ column: SQL) -> SQL {
      switch self {
      case .all: "true"
      case .these(let ids): "\(fragment: column) = ANY(\(ids))"
      }
    }
  }

  private struct Kind: Sendable {
    var read: @Sendable (Which, Session) throws -> [NetworkModel.Object]
    var name: @Sendable (UUID) -> NetworkModel.ObjectID
  }

  private static let kinds: [String: Kind] = [
    "network": Kind(read: networks) { .network(NetworkID($0)) },
    "nic": Kind(read: nics) { .nic(NICID($0)) },
    "security_group": Kind(read: securityGroups) { .securityGroup(SecurityGroupID($0)) },
    "external_network": Kind(read: externalNetworks) { .externalNetwork(ExternalNetworkID($0)) },
    "router": Kind(read: routers) { .router(RouterID($0)) },
    "floating_ip": Kind(read: floatingIPs) { .floatingIP(FloatingIPID($0)) },
    "load_balancer": Kind(read: loadBalancers) { .loadBalancer(LoadBalancerID($0)) },
    "peering": Kind(read: peerings) { .peering(NetworkPeeringID($0)) },
  ]

  static func all(in session: Session) throws -> [NetworkModel.Object] {
    try kinds.values.flatMap { try $0.read(.all, session) }
  }

  /// These objects as they are now; those that are not there any more are to go.
  static func changes(of names: Set<Name>, in session: Session) throws -> [NetworkModel.Change] {
    try Dictionary(grouping: names, by: \.kind).flatMap { kind, names -> [NetworkModel.Change] in
      guard let kind = kinds[kind] else { return [] }
      let found = try kind.read(.these(names.map(\.id)), session)
      let ids = Set(found.map(\.id))
      return found.map { .put($0) } + names.map { kind.name($0.id) }.filter { !ids.contains($0) }.map { .remove($0) }
    }
  }
}
