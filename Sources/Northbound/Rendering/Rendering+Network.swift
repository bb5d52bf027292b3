import AloftModel
import Foundation
import IPAddressing
import OVSDB

extension Rendering {
  func add(_ network: NetworkModel.Network, to contribution: inout Contribution) {
    let key = Names.logicalSwitch(network.id)
    contribution.add(
      .logicalSwitch, key.id, ["name": .string(network.id.description)],
      externalIDs: [ExternalID.project: network.project.description, ExternalID.name: network.name])
    addMetadataPort(of: network, to: &contribution)
    addGuard(of: network, to: &contribution)
    let domain = network.dnsDomain.flatMap(DNSName.normalized)
    if domain != nil {
      let dns = Names.dns(network.id)
      contribution.add(.dns, dns.id, [:])
      contribution.add(.uuid(dns.id), to: "dns_records", of: key)
    }
    for subnet in network.subnets {
      guard let options = dhcpOptions(subnet, of: network, domain: domain) else { continue }
      contribution.add(
        .dhcpOptions, subnet.id.uuid, ["cidr": .string(subnet.cidr.description), "options": .map(options)])
    }
  }

  /// Every node has this port: what is sent to it stays there.
  private func addMetadataPort(of network: NetworkModel.Network, to contribution: inout Contribution) {
    let addresses =
      [MetadataAddress.v4, MetadataAddress.v6]
      + network.subnets.compactMap { $0.cidr.isIPv6 ? nil : $0.metadataAddress?.description }.sorted()
    let words = [network.id.metadataMAC] + addresses
    contribution.add(
      .logicalSwitchPort, UUID(of: "metadata-port", in: network.id.uuid), in: "ports",
      of: Names.logicalSwitch(network.id),
      [
        "name": .string(network.id.metadataPort), "type": "localport",
        "addresses": .string(words.joined(separator: " ")),
      ])
  }

  /// What ports in any security group may do whatever their groups say, and that they may do nothing else.
  private func addGuard(of network: NetworkModel.Network, to contribution: inout Contribution) {
    let group = Names.guardedPorts(network.id)
    let name = Names.guardedPortsName(network.id)
    contribution.add(.portGroup, group.id, ["name": .string(name)])
    for rule in ACL.guards {
      contribution.add(
        .acl, UUID(of: "guard " + rule.role, in: network.id.uuid), in: "acls", of: group, rule.row(portGroup: name))
    }
  }

  func add(_ network: NetworkModel.ExternalNetwork, to contribution: inout Contribution) {
    let key = Names.logicalSwitch(network.id)
    contribution.add(
      .logicalSwitch, key.id, ["name": .string(network.id.description)],
      externalIDs: [ExternalID.name: network.name])
    let port = UUID(of: "localnet", in: network.id.uuid)
    contribution.add(
      .logicalSwitchPort, port, in: "ports", of: key,
      [
        "name": .string("localnet-" + port.text), "type": "localnet", "addresses": "unknown",
        "tag": network.vlan.map { .integer(Int64($0)) } ?? .empty,
        "options": .map(["network_name": network.physicalNetwork]),
      ])
    guard !network.nodes.isEmpty else { return }
    for share in GatewayShare.all { add(share, of: network, to: &contribution) }
  }

  /// The nodes that carry the gateways of a share of the routers, whose ports refer to this group.
  private func add(
    _ share: GatewayShare, of network: NetworkModel.ExternalNetwork, to contribution: inout Contribution
  ) {
    let group = Names.gatewayNodes(share, of: network.id)
    contribution.add(.haChassisGroup, group.id, ["name": .string(Names.gatewayNodesName(share, of: network.id))])
    for (rank, node) in share.nodes(of: network).enumerated() {
      contribution.add(
        .haChassis, UUID(of: node.uuid.text, in: group.id), in: "ha_chassis", of: group,
        ["chassis_name": .string(node.description), "priority": .integer(Int64(1000 - rank))])
    }
  }
}

/// Where the metadata service is, in every network.
enum MetadataAddress {
  static let v4 = "169.254.169.254"
  static let v6 = "fe80::a9fe:a9fe"
}
