import AloftModel
import Foundation
import OVSDB

/// What objects have in the database, by what the model says now.
///
/// Reads only objects that can be reached by ``references(of:)``, beside the object itself and the routers of its network:
/// that is how changes find out whom else they are about.
struct Rendering {
  let model: NetworkModel
  /// The routers that have an interface in a network.
  let attachedRouters: [NetworkID: Set<RouterID>]

  /// Nil when there is no such object.
  func contribution(of id: NetworkModel.ObjectID) -> Contribution? {
    guard let object = model[id] else { return nil }
    var contribution = Contribution(owner: id)
    switch object {
    case .network(let network): add(network, to: &contribution)
    case .externalNetwork(let network): add(network, to: &contribution)
    case .nic(let nic): add(nic, to: &contribution)
    case .router(let router): add(router, to: &contribution)
    case .securityGroup(let group): add(group, to: &contribution)
    case .floatingIP(let floatingIP): add(floatingIP, to: &contribution)
    case .loadBalancer(let balancer): add(balancer, to: &contribution)
    case .peering(let peering): add(peering, to: &contribution)
    }
    return contribution
  }

  /// The other objects that an object's contribution depends on.
  static func references(of object: NetworkModel.Object) -> Set<NetworkModel.ObjectID> {
    switch object {
    case .network, .externalNetwork: return []
    case .nic(let nic): return [.network(nic.network)]
    case .router(let router):
      var references = Set(router.interfaces.map { NetworkModel.ObjectID.network($0.network) })
      if let gateway = router.gateway { references.insert(.externalNetwork(gateway.externalNetwork)) }
      return references
    case .securityGroup(let group):
      return Set(
        group.rules.compactMap { rule in
          if case .group(let remote) = rule.remote, remote != group.id { .securityGroup(remote) } else { nil }
        })
    case .floatingIP(let floatingIP): return [.router(floatingIP.router), .nic(floatingIP.nic)]
    case .loadBalancer(let balancer):
      let members = balancer.listeners.flatMap(\.members).compactMap(\.nic)
      return Set(balancer.routers.map(NetworkModel.ObjectID.router) + members.map(NetworkModel.ObjectID.nic))
    case .peering(let peering): return [.router(peering.first.router), .router(peering.second.router)]
    }
  }
}

/// Which rows stand for objects, and what they are called.
enum Names {
  static func logicalSwitch(_ network: NetworkID) -> RowKey { RowKey(table: .logicalSwitch, id: network.uuid) }
  static func logicalSwitch(_ network: ExternalNetworkID) -> RowKey {
    RowKey(table: .logicalSwitch, id: network.uuid)
  }
  static func gatewayNodes(_ share: GatewayShare, of network: ExternalNetworkID) -> RowKey {
    RowKey(table: .haChassisGroup, id: UUID(of: "gateway-nodes \(share.number)", in: network.uuid))
  }
  static func logicalRouter(_ router: RouterID) -> RowKey { RowKey(table: .logicalRouter, id: router.uuid) }
  static func portGroup(_ group: SecurityGroupID) -> RowKey { RowKey(table: .portGroup, id: group.uuid) }
  /// Of a network's NICs that are in any security group.
  static func guardedPorts(_ network: NetworkID) -> RowKey {
    RowKey(table: .portGroup, id: UUID(of: "guarded-ports", in: network.uuid))
  }
  static func dns(_ network: NetworkID) -> RowKey { RowKey(table: .dns, id: UUID(of: "dns", in: network.uuid)) }

  /// The name of no chassis: without any, OVN would let every node claim a port.
  static let noChassis = "nobody"

  /// A router's port in its external network.
  static func gatewayPort(_ router: RouterID) -> UUID { UUID(of: "gateway", in: router.uuid) }

  /// A port group's, in matches behind `@`; its address sets are that with `_ip4` and `_ip6`.
  static func portGroupName(_ group: SecurityGroupID) -> String { "aloft_" + group.uuid.hex }
  static func gatewayNodesName(_ share: GatewayShare, of network: ExternalNetworkID) -> String {
    "aloft_\(network.uuid.hex)_\(share.number)"
  }
  static func guardedPortsName(_ network: NetworkID) -> String { "aloft_guarded_" + network.uuid.hex }

  /// A router's port; the two ends of one connection must not have the same name, although they are in different tables.
  static func routerPort(_ id: UUID) -> String { "lrp-" + id.text }
  static func switchPort(_ id: UUID) -> String { "lsp-" + id.text }
}
