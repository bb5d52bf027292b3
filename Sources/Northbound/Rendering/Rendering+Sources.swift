import AloftModel
import Foundation
import IPAddressing
import OVSDB

// Which source addresses a router lets out by its gateway: none but those that are the tenant's outside of the cloud, too. They
// are looked at before they are translated.
//
// Port security is no substitute: a tenant may turn it off, and chooses the blocks of its subnets.

extension Rendering {
  private enum SourcePriority {
    static let allow: Int64 = 200
    static let drop: Int64 = 100
  }

  /// - Parameter blocks: of the subnets that the router connects.
  func addSourcePolicies(
    of router: NetworkModel.Router, _ gateway: NetworkModel.Router.Gateway, _ blocks: [AddressBlock],
    to contribution: inout Contribution
  ) {
    let routed =
      model.externalNetworks[gateway.externalNetwork]?.routedBlocks.filter { $0.project == router.project } ?? []
    let translates = gateway.usesSNAT && gateway.addresses.contains { !$0.address.isIPv6 }
    let sources = blocks.filter { block in
      // What is translated may have any address.
      (translates && !block.isIPv6) || routed.contains { $0.cidr.contains(block) }
    }
    for isIPv6 in [false, true] {
      // What the router says itself, such as that a packet was too large, has its own address.
      let own = gateway.addresses.map(\.address).filter { $0.isIPv6 == isIPv6 }.map(\.description)
      let allowed = (sources.filter { $0.isIPv6 == isIPv6 }.map(\.description) + own).sorted()
      if allowed.isEmpty { continue }
      addPolicy(
        "sources-\(isIPv6 ? 6 : 4)", SourcePriority.allow, "allow",
        "\(isIPv6 ? "ip6" : "ip4").src == {\(allowed.joined(separator: ", "))}", of: router.id, router.id.uuid,
        &contribution)
    }
    addPolicy("other-sources", SourcePriority.drop, "drop", "ip", of: router.id, router.id.uuid, &contribution)
  }

  /// What has a floating IP is translated, also where nothing else of its subnet is.
  func addSourcePolicy(
    of floatingIP: NetworkModel.FloatingIP, _ gateway: NetworkModel.Router.Gateway, to contribution: inout Contribution
  ) {
    if gateway.usesSNAT { return }
    addPolicy(
      "source", SourcePriority.allow, "allow", "ip4.src == \(floatingIP.fixedAddress)", of: floatingIP.router,
      floatingIP.id.uuid, &contribution)
  }

  private func addPolicy(
    _ role: String, _ priority: Int64, _ action: String, _ condition: String, of router: RouterID, _ owner: UUID,
    _ contribution: inout Contribution
  ) {
    let port = Names.routerPort(Names.gatewayPort(router))
    contribution.add(
      .policy, UUID(of: "policy " + role, in: owner), in: "policies", of: Names.logicalRouter(router),
      [
        "priority": .integer(priority), "match": .string("outport == \"\(port)\" && \(condition)"),
        "action": .string(action),
      ])
  }
}
