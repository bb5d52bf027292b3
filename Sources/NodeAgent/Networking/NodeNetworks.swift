import AloftModel

/// What changed about the node's networks by itself.
public enum NetworkEvent: Sendable, Hashable {
  /// Ports came or went: guests that wait for theirs are to be looked at.
  case portsChanged
  /// What ``NodeNetworks/report()`` tells.
  case reportChanged
}

/// The node's part in networks: Open vSwitch, the ports of guests, and what answers them on 169.254.169.254.
public protocol NodeNetworks: Sendable {
  /// Which of these NICs' ports OVN has not installed; nil: all are there.
  func missingPorts(of nics: [NICID]) async -> MissingPorts?
  /// Removes what an earlier life of the guest left of these NICs. Called while nothing runs that has them: a port that stays
  /// over the end of its tap device is dead, even for a new one of the same name.
  func removeLeftovers(of nics: [NICID]) async throws(AgentFailure)
  /// What the control plane is told; nil: nothing yet, and what it was told last counts.
  func report() async -> NodeNetworking?
  /// Takes part in these networks from now on; nil: the control plane has none. Called with every answer.
  func join(_ fabric: NetworkFabric?) async
  /// All VMs of this node that have NICs, whenever that changes. Lists may come in any order: one with a lower number than one
  /// that has come is old.
  func serve(_ documents: [Assignment], number: Int) async
  /// Events from now on.
  func events() async -> AsyncStream<NetworkEvent>
}

/// A node without networks.
public struct NoNetworks: NodeNetworks {
  public init() {}

  public func missingPorts(of nics: [NICID]) async -> MissingPorts? { nil }
  public func removeLeftovers(of nics: [NICID]) async throws(AgentFailure) {}
  public func report() async -> NodeNetworking? { nil }
  public func join(_ fabric: NetworkFabric?) async {}
  public func serve(_ documents: [Assignment], number: Int) async {}
  public func events() async -> AsyncStream<NetworkEvent> { AsyncStream { $0.finish() } }
}
