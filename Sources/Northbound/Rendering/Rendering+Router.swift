import AloftModel
import Foundation
import IPAddressing
import OVSDB

extension Rendering {
  func add(_ router: NetworkModel.Router, to contribution: inout Contribution) {
    let key = Names.logicalRouter(router.id)
    contribution.add(
      .logicalRouter, key.id,
      [
        "name": .string(router.id.description),
        // With many routers at one external network each would otherwise hold a flow for every other one, and learn from
        // every ARP request there.
        "options": .map(["dynamic_neigh_routers": "true", "always_learn_from_arp_request": "false"]),
      ], externalIDs: [ExternalID.project: router.project.description, ExternalID.name: router.name])
    let interfaces = router.interfaces.compactMap(routed)
    for interface in interfaces { add(interface, of: router, to: &contribution) }
    if let gateway = usableGateway(of: router) { add(gateway, of: router, interfaces, to: &contribution) }
    let links = interfaces.flatMap(\.subnets).map(\.cidr) + (usableGateway(of: router)?.blocks ?? [])
    for route in router.routes where links.contains(where: { $0.contains(route.nextHop) }) {
      contribution.add(
        .staticRoute, UUID(of: "route \(route.destination) \(route.nextHop)", in: router.id.uuid),
        in: "static_routes", of: key,
        ["ip_prefix": .string(route.destination.description), "nexthop": .string(route.nextHop.description)])
    }
  }

  /// The gateway, if the router can have it: a port without a node would be on every node at once.
  func usableGateway(of router: NetworkModel.Router) -> NetworkModel.Router.Gateway? {
    guard let gateway = router.gateway, let network = model.externalNetworks[gateway.externalNetwork],
      !network.nodes.isEmpty, !gateway.addresses.isEmpty
    else { return nil }
    return gateway
  }

  private func routed(_ interface: NetworkModel.Router.Interface) -> RoutedInterface? {
    guard let network = model.networks[interface.network] else { return nil }
    var (subnets, addresses): ([NetworkModel.Subnet], [NetworkModel.InterfaceAddress]) = ([], [])
    for given in interface.addresses {
      guard let subnet = network.subnets.first(where: { $0.id == given.subnet }) else { continue }
      subnets.append(subnet)
      addresses.append(.init(address: given.address, prefixLength: subnet.cidr.length))
    }
    guard !addresses.isEmpty else { return nil }
    return RoutedInterface(network: network, mac: interface.mac, subnets: subnets, addresses: addresses)
  }

  private func add(
    _ interface: RoutedInterface, of router: NetworkModel.Router, to contribution: inout Contribution
  ) {
    let port = UUID(of: "interface " + interface.network.id.uuid.text, in: router.id.uuid)
    contribution.add(
      .logicalRouterPort, port, in: "ports", of: Names.logicalRouter(router.id),
      [
        "name": .string(Names.routerPort(port)), "mac": .string(interface.mac.description),
        "networks": .strings(interface.addresses.map(\.description)),
        "ipv6_ra_configs": .map(interface.routerAdvertisements),
      ])
    addSwitchPort(to: port, on: Names.logicalSwitch(interface.network.id), options: [:], &contribution)
  }

  private func addSwitchPort(
    to port: UUID, on parent: RowKey, options: [String: String], _ contribution: inout Contribution
  ) {
    contribution.add(
      .logicalSwitchPort, UUID(of: "switch-port", in: port), in: "ports", of: parent,
      [
        "name": .string(Names.switchPort(port)), "type": "router", "addresses": "router",
        "options": .map(options.merging(["router-port": Names.routerPort(port)]) { $1 }),
      ])
  }

  /// Who sends what is too large for the wire is told so, where that can happen: it costs flows, and hardware that forwards.
  private func gatewayOptions(_ gateway: NetworkModel.Router.Gateway, _ interfaces: [RoutedInterface]) -> [String:
    String]
  {
    guard let mtu = model.externalNetworks[gateway.externalNetwork]?.mtu,
      interfaces.contains(where: { $0.network.mtu > mtu })
    else { return [:] }
    return ["gateway_mtu": String(mtu)]
  }

  private func add(
    _ gateway: NetworkModel.Router.Gateway, of router: NetworkModel.Router, _ interfaces: [RoutedInterface],
    to contribution: inout Contribution
  ) {
    let key = Names.logicalRouter(router.id)
    let group = Names.gatewayNodes(GatewayShare(of: router.id), of: gateway.externalNetwork)
    let port = Names.gatewayPort(router.id)
    contribution.add(
      .logicalRouterPort, port, in: "ports", of: key,
      [
        "name": .string(Names.routerPort(port)), "mac": .string(gateway.mac.description),
        "networks": .strings(gateway.addresses.map(\.description)), "ha_chassis_group": .uuid(group.id),
        "options": .map(gatewayOptions(gateway, interfaces)),
      ])
    // The outside is told where the router's addresses are, also after another node has taken over.
    addSwitchPort(
      to: port, on: Names.logicalSwitch(gateway.externalNetwork), options: ["nat-addresses": "router"], &contribution)
    for isIPv6 in [false, true] {
      let all = isIPv6 ? "::/0" : "0.0.0.0/0"
      guard let nextHop = gateway.nextHops.first(where: { $0.isIPv6 == isIPv6 }),
        !router.routes.contains(where: { $0.destination.description == all })
      else { continue }
      contribution.add(
        .staticRoute, UUID(of: "default-route " + all, in: router.id.uuid), in: "static_routes", of: key,
        [
          "ip_prefix": .string(all), "nexthop": .string(nextHop.description),
          "output_port": .string(Names.routerPort(port)),
        ])
    }
    addSourcePolicies(of: router, gateway, interfaces.flatMap(\.subnets).map(\.cidr), to: &contribution)
    guard gateway.usesSNAT, let source = gateway.addresses.first(where: { !$0.address.isIPv6 }) else { return }
    for subnet in interfaces.flatMap(\.subnets) where !subnet.cidr.isIPv6 {
      contribution.add(
        .nat, UUID(of: "snat " + subnet.id.uuid.text, in: router.id.uuid), in: "nat", of: key,
        [
          "type": "snat", "external_ip": .string(source.address.description),
          "logical_ip": .string(subnet.cidr.description),
        ])
    }
  }
}

extension NetworkModel.Router.Gateway {
  fileprivate var blocks: [AddressBlock] {
    addresses.compactMap { AddressBlock(of: $0.address, length: $0.prefixLength) }
  }
}

/// A router's port in a network that is there.
private struct RoutedInterface {
  let network: NetworkModel.Network
  let mac: MACAddress
  let subnets: [NetworkModel.Subnet]
  let addresses: [NetworkModel.InterfaceAddress]

  /// RFC 4861. One port has one way to configure addresses, so SLAAC in one subnet is SLAAC in all of the network.
  var routerAdvertisements: [String: String] {
    let automatic = subnets.filter { $0.cidr.isIPv6 && $0.configuration != .none }
    guard !automatic.isEmpty else { return [:] }
    let isSLAAC = automatic.contains { $0.configuration == .slaac }
    var options = ["address_mode": isSLAAC ? "slaac" : "dhcpv6_stateful", "send_periodic": "true"]
    if network.mtu >= 1280 { options["mtu"] = String(network.mtu) }
    let domain = network.dnsDomain.flatMap(DNSName.normalized)
    let server = automatic.flatMap(\.dnsServers).first(where: \.isIPv6)?.description
    options["rdnss"] = server ?? (domain == nil ? nil : MetadataAddress.v6)
    options["dnssl"] = domain
    return options
  }
}
