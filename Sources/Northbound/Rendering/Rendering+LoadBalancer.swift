import AloftModel
import Foundation
import IPAddressing
import OVSDB

extension Rendering {
  /// One row for each protocol.
  func add(_ balancer: NetworkModel.LoadBalancer, to contribution: inout Contribution) {
    for `protocol` in NetworkModel.LoadBalancer.ListenerProtocol.allCases {
      let listeners = balancer.listeners.filter { $0.protocol == `protocol` }
      guard !listeners.isEmpty else { continue }
      let key = RowKey(table: .loadBalancer, id: UUID(of: `protocol`.rawValue, in: balancer.id.uuid))
      let vips = listeners.map { listener in
        let members = listener.members.filter { $0.address.isIPv6 == balancer.address.isIPv6 }
        return (
          endpoint(balancer.address, listener.port),
          members.map { endpoint($0.address, $0.port) }.sorted().joined(separator: ",")
        )
      }
      contribution.add(
        .loadBalancer, key.id,
        [
          "name": .string("\(balancer.id)-\(`protocol`.rawValue)"), "protocol": .string(`protocol`.rawValue),
          "vips": .map(Dictionary(vips) { first, _ in first }),
          "ip_port_mappings": .map(healthCheckedPorts(listeners, of: balancer)),
          // Who connects to one without members is told so, and does not wait.
          "options": .map(["reject": "true"]),
        ], externalIDs: [ExternalID.project: balancer.project.description, ExternalID.name: balancer.name])
      addHealthChecks(listeners, of: balancer, key, to: &contribution)
      attach(key, balancer, to: &contribution)
    }
  }

  /// A router with a gateway applies it only to what comes in there, so that every switch with clients has it, too.
  private func attach(
    _ key: RowKey, _ balancer: NetworkModel.LoadBalancer, to contribution: inout Contribution
  ) {
    let routed = balancer.routers.compactMap { model.routers[$0] }.flatMap(\.interfaces).map(\.network)
    for network in balancer.networks.union(routed) {
      contribution.add(.uuid(key.id), to: "load_balancer", of: Names.logicalSwitch(network))
    }
    for router in balancer.routers {
      contribution.add(.uuid(key.id), to: "load_balancer", of: Names.logicalRouter(router))
    }
  }

  private func addHealthChecks(
    _ listeners: [NetworkModel.LoadBalancer.Listener], of balancer: NetworkModel.LoadBalancer, _ key: RowKey,
    to contribution: inout Contribution
  ) {
    for listener in listeners {
      guard let check = listener.healthCheck else { continue }
      contribution.add(
        .healthCheck, UUID(of: "health-check \(listener.port)", in: key.id), in: "health_check", of: key,
        [
          "vip": .string(endpoint(balancer.address, listener.port)),
          "options": .map([
            "interval": String(check.interval), "timeout": String(check.timeout),
            "failure_count": String(check.failures), "success_count": String(check.successes),
          ]),
        ])
    }
  }

  /// By a member's address: its port, and who asks it. Those without are never asked, and count as healthy.
  private func healthCheckedPorts(
    _ listeners: [NetworkModel.LoadBalancer.Listener], of balancer: NetworkModel.LoadBalancer
  ) -> [String: String] {
    var ports: [String: String] = [:]
    for member in listeners.filter({ $0.healthCheck != nil }).flatMap(\.members) {
      guard let nic = member.nic.flatMap({ model.nics[$0] }),
        let subnet = nic.addresses.first(where: { $0.address == member.address })?.subnet,
        let source = balancer.healthCheckSources[subnet], source.isIPv6 == member.address.isIPv6
      else { continue }
      ports[bracketed(member.address)] = "\(nic.id.port):\(bracketed(source))"
    }
    return ports
  }

  private func endpoint(_ address: IPAddress, _ port: UInt16) -> String { "\(bracketed(address)):\(port)" }

  private func bracketed(_ address: IPAddress) -> String { address.isIPv6 ? "[\(address)]" : "\(address)" }
}
