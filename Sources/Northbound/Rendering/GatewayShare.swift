import AloftModel
import Foundation

/// Routers of one external network share groups of nodes that carry their gateways (`HA_Chassis_Group`, ovn-nb(5)), each group a
/// part of them: nodes come and go without a word about any router, however many there are.
struct GatewayShare: Sendable, Hashable {
  /// How many groups an external network has: enough to spread routers over nodes.
  static let count = 64
  /// How many nodes are in a group: one carries the traffic, OVN lets the others take over.
  static let nodesAtMost = 5

  let number: Int

  static var all: [GatewayShare] { (0..<count).map(GatewayShare.init) }

  private init(number: Int) { self.number = number }

  /// The one that a router is in, always the same: the last bits of a UUIDv7 are random (RFC 9562, 5.7).
  init(of router: RouterID) { number = Int(router.uuid.uuid.15) % Self.count }

  /// The nodes of the group, best first. Each group has an order of its own, in which a node's place depends on nothing but
  /// group and node (rendezvous hashing): one node more or less changes only the groups that it comes into or leaves.
  func nodes(of network: NetworkModel.ExternalNetwork) -> [NodeID] {
    network.nodes.map { (isSpared: network.sparedNodes.contains($0), weight: weight(of: $0), node: $0) }
      .sorted { $0.isSpared != $1.isSpared ? $1.isSpared : $0.weight > $1.weight }
      .prefix(Self.nodesAtMost).map(\.node)
  }

  /// FNV-1a, with the end of SplitMix64 so that all bits depend on all.
  private func weight(of node: NodeID) -> UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    withUnsafeBytes(of: node.uuid.uuid) { bytes in
      for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    }
    hash = (hash ^ UInt64(number)) &* 0x100_0000_01b3
    hash = (hash ^ (hash >> 30)) &* 0xbf58_476d_1ce4_e5b9
    hash = (hash ^ (hash >> 27)) &* 0x94d0_49bb_1331_11eb
    return hash ^ (hash >> 31)
  }
}

extension NetworkModel.ExternalNetwork {
  /// Whether the rows of routers are the same with the other one.
  func isSameForRouters(as other: Self) -> Bool {
    var own = self
    own.nodes = other.nodes
    own.sparedNodes = other.sparedNodes
    return own == other && nodes.isEmpty == other.nodes.isEmpty
  }
}
