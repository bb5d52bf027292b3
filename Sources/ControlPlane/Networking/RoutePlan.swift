import AloftModel
import IPAddressing

/// A subnet that a router is in.
struct Neighbour: Sendable {
  var block: AddressBlock
  /// The router's own address, unless the subnet is outside.
  var gateway: IPAddress?
  var isExternal: Bool
}

/// A subnet that a router leads to without being told how.
struct ReachedSubnet: Sendable {
  var block: AddressBlock
  var name: String
  var isPeered: Bool
}

/// What is asked of a router's routes. Pure.
enum RoutePlan {
  /// The routes as they are kept, or a refusal that names the place.
  static func routes(
    _ wishes: [SubnetPlan.HostRoute], among neighbours: [Neighbour], besides reached: [ReachedSubnet]
  ) throws -> [SubnetPlan.HostRoute] {
    var routes: [SubnetPlan.HostRoute] = []
    for (index, wish) in wishes.enumerated() {
      let place = "/routes/\(index)"
      let destination = try AddressBlock.parse(wish.destination, at: place + "/destination")
      guard let hop = IPAddress(wish.nextHop) else {
        throw Problem.field(.badFormat, place + "/next_hop", "\(wish.nextHop) is no IP address")
      }
      guard hop.isIPv6 == destination.isIPv6 else {
        throw Problem.field(.badFormat, place + "/next_hop", "\(hop) is not of the family of \(destination)")
      }
      // OVN would send some packets the one way and some the other.
      if let subnet = reached.first(where: { $0.block == destination }) {
        throw Problem.field(
          .addressesOverlap, place + "/destination",
          "\(destination) is subnet \(subnet.name), which the router \(subnet.isPeered ? "reaches by a peering" : "connects"); leave the route out"
        )
      }
      guard let neighbour = neighbours.first(where: { $0.block.contains(hop) }) else {
        let blocks = neighbours.map(\.block.description).joined(separator: ", ")
        throw Problem.field(
          .outOfRange, place + "/next_hop",
          "\(hop) is in no subnet of the router; \(blocks.isEmpty ? "it has none yet" : "those are \(blocks)")")
      }
      if hop == neighbour.gateway, !neighbour.isExternal {
        throw Problem.field(.outOfRange, place + "/next_hop", "\(hop) is the router's own address")
      }
      let route = SubnetPlan.HostRoute(destination: destination.description, nextHop: hop.description)
      if let first = routes.firstIndex(where: { $0.destination == route.destination }) {
        throw Problem.field(
          .duplicateItem, place + "/destination",
          "route \(first) leads to \(destination) already; leave one of them out")
      }
      routes.append(route)
    }
    return routes
  }
}
