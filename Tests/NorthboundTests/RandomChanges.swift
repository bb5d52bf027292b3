import AloftModel
import Foundation
import IPAddressing

@testable import Northbound

/// Changes of a cloud of few objects of each kind, so that they often have to do with each other, and often are about something
/// that is not there.
struct RandomChanges {
  private var dice: Dice

  init(seed: UInt64) { dice = Dice(seed: seed) }

  mutating func next() -> Model.Change {
    let id = randomID()
    return number(5) == 0 ? .remove(id) : .put(object(id))
  }

  private mutating func number(_ below: UInt64) -> UInt64 { UInt64.random(in: 0..<below, using: &dice) }
  private mutating func chance(_ one: UInt64) -> Bool { number(one) == 0 }
  private mutating func some(_ below: UInt64) -> [UInt64] { (0..<below).filter { _ in chance(2) } }

  private mutating func randomID() -> Model.ObjectID {
    switch number(12) {
    case 0: .network(id(number(3)))
    case 1: .externalNetwork(id(number(2)))
    case 2: .router(id(number(3)))
    case 3: .securityGroup(id(number(4)))
    case 4: .floatingIP(id(number(3)))
    case 5: .loadBalancer(id(number(2)))
    case 6: .peering(id(number(2)))
    default: .nic(id(number(8)))
    }
  }

  private mutating func object(_ object: Model.ObjectID) -> Model.Object {
    switch object {
    case .network(let id): .network(network(id))
    case .externalNetwork(let id):
      .externalNetwork(
        .init(
          id: id, name: "e", physicalNetwork: "physnet1", vlan: chance(2) ? 7 : nil,
          routedBlocks: chance(2) ? [.init(project: SampleCloud.project, cidr: block("fd00:1::/32"))] : [],
          nodes: Set(some(4).map { made($0) }), sparedNodes: Set(some(4).map { made($0) })))
    case .nic(let id): .nic(nic(id))
    case .router(let id): .router(router(id))
    case .securityGroup(let id): .securityGroup(securityGroup(id))
    case .floatingIP(let id):
      .floatingIP(
        .init(
          id: id, router: made(number(3)), address: address("203.0.113.\(50 + number(4))"),
          nic: made(number(8)), fixedAddress: address("10.0.0.11"), mac: mac("02:00:00:00:02:01")))
    case .loadBalancer(let id): .loadBalancer(loadBalancer(id))
    case .peering(let id): .peering(peering(id))
    }
  }

  private mutating func network(_ network: NetworkID) -> Model.Network {
    let tail = network.uuid.uuid.15
    return Model.Network(
      id: network, project: SampleCloud.project, name: "n\(number(2))", mtu: chance(4) ? 8900 : 1442,
      dnsDomain: chance(3) ? nil : "d\(number(2)).example",
      subnets: some(3).map { kind in
        let number = UInt64(tail) * 10 + kind
        return kind == 0
          ? .init(
            id: made(number), cidr: block("10.0.\(tail).0/24"), gateway: address("10.0.\(tail).1"),
            configuration: chance(4) ? .none : .dhcp, metadataAddress: chance(4) ? nil : address("10.0.\(tail).2"))
          : .init(
            id: made(number), cidr: block("fd00:\(tail):\(kind)::/64"),
            gateway: address("fd00:\(tail):\(kind)::1"), configuration: chance(2) ? .slaac : .dhcp)
      })
  }

  private mutating func nic(_ nic: NICID) -> Model.NIC {
    let network = number(3)
    let tail = nic.uuid.uuid.15
    var changed = SampleCloud.nic(
      UInt64(tail), network: network,
      some(2).map { (network * 10 + $0, $0 == 0 ? "10.0.\(network).\(10 + tail)" : "fd00:\(network):1::\(tail + 16)") },
      groups: some(4), host: "Host\(number(4))")
    changed.isProtected = !chance(4)
    changed.allowedPairs =
      chance(3) ? [.init(mac: chance(2) ? mac("02:00:5e:00:01:01") : nil, addresses: block("10.9.0.0/16"))] : []
    changed.bandwidth = .init(incoming: chance(3) ? 1000 : nil, outgoing: chance(3) ? 2000 + Int(number(2)) : nil)
    changed.node = chance(2) ? made(number(3)) : nil
    return changed
  }

  private mutating func router(_ router: RouterID) -> Model.Router {
    let tail = router.uuid.uuid.15
    return Model.Router(
      id: router, project: SampleCloud.project, name: "r",
      interfaces: some(3).map { network in
        .init(
          network: made(network), mac: mac("02:00:00:00:0\(tail):0\(network)"),
          addresses: some(3).map {
            .init(
              subnet: made(network * 10 + $0),
              address: address($0 == 0 ? "10.0.\(network).\(1 + number(2))" : "fd00:\(network):\($0)::1"))
          })
      },
      routes: chance(2) ? [.init(destination: block("172.16.0.0/12"), nextHop: address("10.0.0.77"))] : [],
      gateway: chance(3)
        ? nil
        : .init(
          externalNetwork: made(number(2)), mac: mac("02:00:00:00:0\(tail):ff"),
          addresses: [.init(address: address("203.0.113.\(10 + tail)"), prefixLength: 24)],
          nextHops: [address("203.0.113.1")], usesSNAT: !chance(3)))
  }

  private mutating func securityGroup(_ group: SecurityGroupID) -> Model.SecurityGroup {
    let first = UInt64(group.uuid.uuid.15) * 10
    return Model.SecurityGroup(
      id: group, project: SampleCloud.project,
      rules: some(5).map { index in
        .init(
          id: made(first + index), direction: chance(2) ? .ingress : .egress, ipVersion: chance(2) ? .v4 : .v6,
          protocol: chance(2) ? .any : .tcp, ports: chance(2) ? 1...UInt16(1 + number(9)) : nil,
          remote: chance(2) ? .group(made(number(4))) : .block(block("10.0.0.0/8")))
      })
  }

  private mutating func loadBalancer(_ balancer: LoadBalancerID) -> Model.LoadBalancer {
    Model.LoadBalancer(
      id: balancer, project: SampleCloud.project, name: "lb", address: address("10.0.0.100"),
      listeners: some(3).map { port in
        .init(
          protocol: chance(2) ? .tcp : .udp, port: UInt16(80 + port),
          members: some(3).map {
            .init(address: address("10.0.0.\(10 + $0)"), port: 80, nic: chance(2) ? made($0) : nil)
          }, healthCheck: chance(2) ? .init() : nil)
      }, networks: Set(some(3).map { made($0) }), routers: Set(some(3).map { made($0) }),
      healthCheckSources: [made(0): address("10.0.0.3")])
  }

  private mutating func peering(_ peering: NetworkPeeringID) -> Model.Peering {
    func side(_ router: UInt64, _ tail: Int, _ reachable: Bool) -> Model.Peering.Side {
      .init(
        router: made(router), mac: mac("02:00:00:00:aa:0\(tail)"),
        addresses: [.init(address: address("169.254.0.\(tail)"), prefixLength: 30)],
        reachable: reachable ? [block("10.0.\(router).0/24")] : [])
    }
    return Model.Peering(
      id: peering, first: side(number(3), 1, chance(2)), second: side(number(3), 2, chance(2)))
  }
}

/// `id` where that is also the name of what is made.
private func made<Kind: TypeIDKind>(_ number: UInt64) -> TypeID<Kind> { id(number) }
