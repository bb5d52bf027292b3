import AloftModel
import Foundation
import IPAddressing
import OVSDB
import OVSDBTestSupport
import TestSupport

@testable import Northbound

typealias Model = NetworkModel

func address(_ text: String) -> IPAddress { written(IPAddress(text), text) }
func block(_ text: String) -> AddressBlock { written(AddressBlock(text), text) }
func mac(_ text: String) -> MACAddress { written(MACAddress(text), text) }

/// What a test says is right.
private func written<Value>(_ value: Value?, _ text: String) -> Value {
  guard let value else { preconditionFailure("\(text) is no address") }
  return value
}

/// Ids that tell objects apart, also by their first digits (OVN's tools show no others), and are the same each time.
func id<Kind: TypeIDKind>(_ number: UInt64, _ kind: TypeID<Kind>.Type = TypeID<Kind>.self) -> TypeID<Kind> {
  var bytes = [UInt8](repeating: 0, count: 16)
  for (index, letter) in Kind.prefix.utf8.suffix(2).enumerated() { bytes[index] = letter }
  bytes[2] = UInt8(truncatingIfNeeded: number)
  for index in 0..<8 { bytes[8 + index] = UInt8(truncatingIfNeeded: number >> (8 * (7 - index))) }
  return TypeID(bytes.withUnsafeBytes { UUID(uuid: $0.loadUnaligned(as: uuid_t.self)) })
}

/// A small cloud: two networks behind a router with a gateway, three VMs.
struct SampleCloud {
  static let project: ProjectID = id(1)

  var web = Model.Network(
    id: id(1), project: project, name: "web", mtu: 1442, dnsDomain: "web.example",
    subnets: [
      .init(
        id: id(1), cidr: block("10.0.0.0/24"), gateway: address("10.0.0.1"),
        dnsServers: [address("192.0.2.53"), address("2001:db8::53")],
        hostRoutes: [.init(destination: block("192.168.0.0/16"), nextHop: address("10.0.0.9"))],
        metadataAddress: address("10.0.0.2")),
      .init(
        id: id(2), cidr: block("fd00:1::/64"), gateway: address("fd00:1::1"), configuration: .slaac,
        dnsServers: [address("2001:db8::53")]),
    ])
  var data = Model.Network(
    id: id(2), project: project, name: "data", mtu: 1442, dnsDomain: "data.example",
    subnets: [
      .init(
        id: id(3), cidr: block("10.0.1.0/24"), gateway: address("10.0.1.1"), metadataAddress: address("10.0.1.2")),
      .init(id: id(4), cidr: block("fd00:2::/64"), gateway: address("fd00:2::1"), configuration: .dhcp),
    ])
  var outside = Model.ExternalNetwork(
    id: id(1), name: "outside", physicalNetwork: "physnet1", vlan: 100, nodes: [id(1), id(2), id(3)])
  var router = Model.Router(
    id: id(1), project: project, name: "edge",
    interfaces: [
      .init(
        network: id(1), mac: mac("02:00:00:00:01:01"),
        addresses: [
          .init(subnet: id(1), address: address("10.0.0.1")), .init(subnet: id(2), address: address("fd00:1::1")),
        ]),
      .init(
        network: id(2), mac: mac("02:00:00:00:01:02"),
        addresses: [
          .init(subnet: id(3), address: address("10.0.1.1")), .init(subnet: id(4), address: address("fd00:2::1")),
        ]),
    ],
    routes: [.init(destination: block("172.16.0.0/12"), nextHop: address("10.0.0.77"))],
    gateway: .init(
      externalNetwork: id(1), mac: mac("02:00:00:00:01:ff"),
      addresses: [.init(address: address("203.0.113.10"), prefixLength: 24)], nextHops: [address("203.0.113.1")]))
  var open = Model.SecurityGroup(
    id: id(1), project: project,
    rules: [
      .init(id: id(1), direction: .egress, ipVersion: .v4), .init(id: id(2), direction: .egress, ipVersion: .v6),
      .init(id: id(3), direction: .ingress, ipVersion: .v4, protocol: .tcp, ports: 22...22),
      .init(id: id(4), direction: .ingress, ipVersion: .v4, protocol: .icmp(type: 8, code: 0)),
      .init(id: id(5), direction: .ingress, ipVersion: .v6, protocol: .icmp(type: 128, code: nil)),
      .init(
        id: id(6), direction: .ingress, ipVersion: .v4, protocol: .udp, ports: 5000...5010,
        remote: .block(block("10.0.1.0/24"))),
    ])
  /// Lets in what comes from its own members, and from those of `open`; lets nothing out.
  var closed = Model.SecurityGroup(
    id: id(2), project: project,
    rules: [
      .init(id: id(20), direction: .ingress, ipVersion: .v4, remote: .group(id(2))),
      .init(id: id(21), direction: .ingress, ipVersion: .v6, protocol: .tcp, ports: 80...80, remote: .group(id(1))),
      .init(id: id(22), direction: .ingress, ipVersion: .v4, protocol: .tcp, ports: 80...80, remote: .group(id(1))),
    ])
  var nics: [Model.NIC] = [
    nic(1, network: 1, [(1, "10.0.0.11"), (2, "fd00:1::bad")], groups: [1], host: "Alpha"),
    nic(2, network: 1, [(1, "10.0.0.12"), (2, "fd00:1::bad")], groups: [2], host: "beta"),
    nic(3, network: 2, [(3, "10.0.1.13"), (4, "fd00:2::13")], groups: [1], host: "gamma"),
  ]
  var floatingIP = Model.FloatingIP(
    id: id(1), router: id(1), address: address("203.0.113.50"), nic: id(1), fixedAddress: address("10.0.0.11"),
    mac: mac("02:00:00:00:02:01"))
  var balancer = Model.LoadBalancer(
    id: id(1), project: project, name: "site", address: address("10.0.0.100"),
    listeners: [
      .init(
        protocol: .tcp, port: 80,
        members: [
          .init(address: address("10.0.0.11"), port: 8080, nic: id(1)),
          .init(address: address("10.0.0.12"), port: 8080, nic: id(2)),
        ], healthCheck: .init()),
      .init(protocol: .udp, port: 53, members: [.init(address: address("10.0.0.12"), port: 53)]),
    ], routers: [id(1)], healthCheckSources: [id(1): address("10.0.0.3")])

  static func nic(
    _ number: UInt64, network: UInt64, _ addresses: [(UInt64, String)], groups: [UInt64] = [], host: String = "host"
  ) -> Model.NIC {
    Model.NIC(
      id: id(number), network: id(network), vm: id(number), hostname: host,
      mac: MACAddress(locallyAdministered: 0x0200_0000_1000 + number),
      addresses: addresses.map { .init(subnet: id($0.0), address: address($0.1)) },
      securityGroups: Set(groups.map { id($0) }))
  }

  var objects: [Model.Object] {
    [
      .network(web), .network(data), .externalNetwork(outside), .router(router), .securityGroup(open),
      .securityGroup(closed), .floatingIP(floatingIP), .loadBalancer(balancer),
    ] + nics.map(Model.Object.nic)
  }

  var model: Model { Model(objects) }
}

/// A small generator of numbers (SplitMix64), so that a seed tells all.
struct Dice: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var word = state
    word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
    word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
    return word ^ (word >> 31)
  }
}
