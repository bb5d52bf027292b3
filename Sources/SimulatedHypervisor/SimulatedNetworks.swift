import AloftModel
import NodeAgent

/// The networks of a ``SimulatedHost``: every port is installed as soon as it is there, unless the host's faults say that none
/// is.
public struct SimulatedNetworks: NodeNetworks {
  let host: SimulatedHost

  /// What a node reports that lacks nothing.
  public static let sound = NodeNetworking(
    datapath: .kernel, tunnelAddress: "192.0.2.1", physicalNetworks: ["physical"])

  public init(_ host: SimulatedHost) { self.host = host }

  public func missingPorts(of nics: [NICID]) async -> MissingPorts? {
    guard !nics.isEmpty, host.faults.portsAreMissing else { return nil }
    return MissingPorts(nics: nics, reason: "simulated: OVN installs nothing")
  }

  public func removeLeftovers(of nics: [NICID]) async throws(AgentFailure) {}

  public func report() async -> NodeNetworking? {
    var networking = Self.sound
    if host.faults.networksAreBroken { networking.problem = "simulated: ovn-controller does not answer" }
    return networking
  }

  public func join(_ fabric: NetworkFabric?) async {}
  public func serve(_ documents: [Assignment], number: Int) async {}
  public func events() async -> AsyncStream<NetworkEvent> { AsyncStream { $0.finish() } }
}
