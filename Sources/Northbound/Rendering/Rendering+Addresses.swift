import AloftModel
import Foundation
import IPAddressing
import OVSDB

extension Rendering {
  /// With port and MAC address the NIC's own node translates, not the gateway's.
  func add(_ floatingIP: NetworkModel.FloatingIP, to contribution: inout Contribution) {
    guard let router = model.routers[floatingIP.router], let gateway = usableGateway(of: router),
      model.nics[floatingIP.nic] != nil
    else { return }
    contribution.add(
      .nat, floatingIP.id.uuid, in: "nat", of: Names.logicalRouter(router.id),
      [
        "type": "dnat_and_snat", "external_ip": .string(floatingIP.address.description),
        "logical_ip": .string(floatingIP.fixedAddress.description), "logical_port": .string(floatingIP.nic.port),
        "external_mac": .string(floatingIP.mac.description),
      ])
    addSourcePolicy(of: floatingIP, gateway, to: &contribution)
  }

  /// A pair of router ports that are each other's peers, and the ways to what the other side lets be reached.
  func add(_ peering: NetworkModel.Peering, to contribution: inout Contribution) {
    guard peering.first.router != peering.second.router, model.routers[peering.first.router] != nil,
      model.routers[peering.second.router] != nil, !peering.first.addresses.isEmpty, !peering.second.addresses.isEmpty
    else { return }
    let ports = (UUID(of: "first", in: peering.id.uuid), UUID(of: "second", in: peering.id.uuid))
    add(peering.first, ports.0, towards: peering.second, ports.1, to: &contribution)
    add(peering.second, ports.1, towards: peering.first, ports.0, to: &contribution)
  }

  private func add(
    _ side: NetworkModel.Peering.Side, _ port: UUID, towards other: NetworkModel.Peering.Side, _ otherPort: UUID,
    to contribution: inout Contribution
  ) {
    let key = Names.logicalRouter(side.router)
    contribution.add(
      .logicalRouterPort, port, in: "ports", of: key,
      [
        "name": .string(Names.routerPort(port)), "mac": .string(side.mac.description),
        "networks": .strings(side.addresses.map(\.description)), "peer": .string(Names.routerPort(otherPort)),
      ])
    for block in other.reachable {
      guard let nextHop = other.addresses.first(where: { $0.address.isIPv6 == block.isIPv6 }) else { continue }
      contribution.add(
        .staticRoute, UUID(of: "route \(block)", in: port), in: "static_routes", of: key,
        [
          "ip_prefix": .string(block.description), "nexthop": .string(nextHop.address.description),
          "output_port": .string(Names.routerPort(port)),
        ])
    }
  }
}
