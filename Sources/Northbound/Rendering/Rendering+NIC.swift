import AloftModel
import Foundation
import IPAddressing
import OVSDB

extension Rendering {
  func add(_ nic: NetworkModel.NIC, to contribution: inout Contribution) {
    guard let network = model.networks[nic.network] else { return }
    let subnets = Dictionary(network.subnets.map { ($0.id, $0) }) { first, _ in first }
    let addresses = nic.addresses.compactMap { given in
      subnets[given.subnet].map { PortAddress(given, in: $0, mac: nic.mac) }
    }
    func options(_ isIPv6: Bool) -> Value {
      let subnet = addresses.first { $0.subnet.configuration == .dhcp && $0.subnet.cidr.isIPv6 == isIPv6 }?.subnet
      return subnet.map { .uuid($0.id.uuid) } ?? .empty
    }
    contribution.add(
      .logicalSwitchPort, nic.id.uuid, in: "ports", of: Names.logicalSwitch(nic.network),
      [
        "name": .string(nic.id.port), "addresses": .strings(portAddresses(nic, addresses)),
        "port_security": .strings(nic.isProtected ? portSecurity(nic, addresses) : []),
        "dhcpv4_options": options(false), "dhcpv6_options": options(true),
        "options": .map(["requested-chassis": nic.node?.description ?? Names.noChassis]),
      ], externalIDs: [ExternalID.vm: nic.vm.description])
    for group in nic.securityGroups { contribution.add(.uuid(nic.id.uuid), to: "ports", of: Names.portGroup(group)) }
    if !nic.securityGroups.isEmpty {
      contribution.add(.uuid(nic.id.uuid), to: "ports", of: Names.guardedPorts(nic.network))
    }
    addNames(nic, addresses, in: network, to: &contribution)
    addLimit(nic.bandwidth.incoming, .toGuest, of: nic, to: &contribution)
    addLimit(nic.bandwidth.outgoing, .fromGuest, of: nic, to: &contribution)
  }

  /// Where the switch sends packets to this port. Nothing may stand behind the last word: OVN passes over such addresses.
  private func portAddresses(_ nic: NetworkModel.NIC, _ addresses: [PortAddress]) -> Set<String> {
    var lines: Set = [([nic.mac.description] + addresses.map(\.address.description)).joined(separator: " ")]
    if nic.isProtected {
      // Of what else the guest may send from, only MAC addresses matter to a switch.
      lines.formUnion(nic.allowedPairs.compactMap(\.mac).filter { $0 != nic.mac }.map(\.description))
    } else {
      lines.insert("unknown")
    }
    return lines
  }

  /// What the guest may send from. Its own link-local address is always among it: IPv6 neighbours and the metadata service need
  /// it, and a line without any address would allow all of them.
  private func portSecurity(_ nic: NetworkModel.NIC, _ addresses: [PortAddress]) -> [String] {
    var words = [nic.mac: addresses.map(\.withPrefix) + [linkLocal(nic.mac)]]
    for pair in nic.allowedPairs {
      let isOne = pair.addresses.hostBits == 0
      words[pair.mac ?? nic.mac, default: []].append(
        isOne ? pair.addresses.base.description : pair.addresses.description)
    }
    return words.map { mac, addresses in ([mac.description] + addresses).joined(separator: " ") }
  }

  private func linkLocal(_ mac: MACAddress) -> String {
    AddressBlock("fe80::/64").flatMap { mac.autoconfigured(in: $0) }?.description ?? ""
  }

  /// Two VMs of one name share it: each of their addresses is an answer.
  private func addNames(
    _ nic: NetworkModel.NIC, _ addresses: [PortAddress], in network: NetworkModel.Network,
    to contribution: inout Contribution
  ) {
    guard let domain = network.dnsDomain.flatMap(DNSName.normalized), let host = DNSName.normalized(nic.hostname),
      let name = DNSName.normalized("\(host).\(domain)")
    else { return }
    let dns = Names.dns(network.id)
    for address in addresses.map(\.address) {
      contribution.add(word: address.description, to: name, in: "records", of: dns)
      contribution.add(word: name, to: DNSName.reverse(address), in: "records", of: dns)
    }
  }

  /// A meter in the node's switch: what is above is dropped.
  private func addLimit(
    _ rate: Int?, _ direction: ACL.Direction, of nic: NetworkModel.NIC, to contribution: inout Contribution
  ) {
    guard let rate, rate > 0 else { return }
    let port = direction == .fromGuest ? "inport" : "outport"
    // TCP gets near to the rate only if bursts of a good part of a second pass.
    let burst = max(1, rate - rate / 5)
    contribution.add(
      .qos, UUID(of: "bandwidth " + direction.rawValue, in: nic.id.uuid), in: "qos_rules",
      of: Names.logicalSwitch(nic.network),
      [
        "direction": .string(direction.rawValue), "priority": 100, "match": .string("\(port) == \"\(nic.id.port)\""),
        "bandwidth": .map(["rate": .integer(Int64(rate)), "burst": .integer(Int64(burst))]),
      ])
  }
}

/// An address that a guest really has.
private struct PortAddress {
  let subnet: NetworkModel.Subnet
  let address: IPAddress

  init(_ given: NetworkModel.NIC.Address, in subnet: NetworkModel.Subnet, mac: MACAddress) {
    self.subnet = subnet
    let own = subnet.configuration == .slaac ? mac.autoconfigured(in: subnet.cidr) : nil
    address = own ?? given.address
  }

  /// With the subnet's length, so that the subnet's broadcasts arrive. A block's first address with a length would mean all of
  /// the block.
  var withPrefix: String {
    address.isIPv6 || address == subnet.cidr.base ? address.description : "\(address)/\(subnet.cidr.length)"
  }
}
