import AloftModel
import IPAddressing

extension Rendering {
  /// In seconds. Addresses stay with their NICs, so this only says how soon guests hear of another MTU or resolver, and how
  /// long a node's ovn-controller may be away: guests ask again after half of it.
  private static let leaseTime = 43_200
  /// An option's length is one byte, and a route takes up to nine (RFC 3442); two are ours.
  private static let hostRouteLimit = 26
  private static let dnsServerLimit = 8

  /// Nil where OVN does not answer DHCP.
  func dhcpOptions(
    _ subnet: NetworkModel.Subnet, of network: NetworkModel.Network, domain: String?
  ) -> [String: String]? {
    guard subnet.configuration == .dhcp else { return nil }
    return subnet.cidr.isIPv6 ? dhcpv6(subnet, network, domain) : dhcpv4(subnet, network, domain)
  }

  private func dhcpv4(
    _ subnet: NetworkModel.Subnet, _ network: NetworkModel.Network, _ domain: String?
  ) -> [String: String]? {
    // The metadata port is who answers: it is there whether the subnet has a router or not, and stays the same.
    let candidates = [subnet.metadataAddress, subnet.gateway, subnet.cidr.base.advanced(by: 1)]
    guard let server = candidates.lazy.compactMap(\.self).first(where: { !$0.isIPv6 }) else { return nil }
    var options = [
      "server_id": server.description, "server_mac": network.id.metadataMAC, "lease_time": String(Self.leaseTime),
      "mtu": String(network.mtu),
    ]
    let servers = subnet.dnsServers.filter { !$0.isIPv6 }
    options["dns_server"] = addressSet(servers, orElse: domain == nil ? nil : server.description)
    // Without the inner quotation marks the whole answer would be refused on the node.
    if let domain { options["domain_name"] = "\"\(domain)\"" }
    let router = routedGateway(of: subnet, in: network)
    if let router { options["router"] = router.description }
    // Guests that know this option pass over the one above, so the default route is here too.
    var routes: [String] = []
    if let metadata = subnet.metadataAddress { routes.append("\(MetadataAddress.v4)/32,\(metadata)") }
    let hostRoutes = subnet.hostRoutes.filter { !$0.destination.isIPv6 && !$0.nextHop.isIPv6 }
    routes += hostRoutes.prefix(Self.hostRouteLimit).map { "\($0.destination),\($0.nextHop)" }
    if let router { routes.append("0.0.0.0/0,\(router)") }
    if !routes.isEmpty { options["classless_static_route"] = "{" + routes.joined(separator: ", ") + "}" }
    return options
  }

  private func dhcpv6(
    _ subnet: NetworkModel.Subnet, _ network: NetworkModel.Network, _ domain: String?
  ) -> [String: String] {
    var options = ["server_id": network.id.metadataMAC]
    let servers = subnet.dnsServers.filter(\.isIPv6)
    options["dns_server"] = addressSet(servers, orElse: domain == nil ? nil : MetadataAddress.v6)
    if let domain { options["domain_search"] = "\"\(domain)\"" }
    return options
  }

  private func addressSet(_ addresses: [IPAddress], orElse fallback: String?) -> String? {
    let texts = addresses.prefix(Self.dnsServerLimit).map(\.description)
    return texts.isEmpty ? fallback : "{" + texts.joined(separator: ", ") + "}"
  }

  /// The subnet's gateway if some router has that address.
  private func routedGateway(of subnet: NetworkModel.Subnet, in network: NetworkModel.Network) -> IPAddress? {
    guard let gateway = subnet.gateway else { return nil }
    let routers = (attachedRouters[network.id] ?? []).compactMap { model.routers[$0] }
    let isRouted = routers.contains { router in
      router.interfaces.contains { $0.network == network.id && $0.addresses.contains { $0.address == gateway } }
    }
    return isRouted ? gateway : nil
  }
}
