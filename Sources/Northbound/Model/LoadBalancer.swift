import AloftModel
import IPAddressing

extension NetworkModel {
  /// One address whose ports lead to members (layer 4).
  public struct LoadBalancer: Sendable, Hashable {
    public var id: LoadBalancerID
    public var project: ProjectID
    public var name: String
    /// The virtual IP address.
    public var address: IPAddress
    public var listeners: [Listener]
    /// Whose VMs are clients.
    public var networks: Set<NetworkID>
    /// The VMs of all networks of these routers are clients, too, and so is what comes in by their gateways.
    public var routers: Set<RouterID>
    /// Who asks members for their health: a free address of the members' subnet, for each of their subnets.
    public var healthCheckSources: [SubnetID: IPAddress]

    public init(
      id: LoadBalancerID, project: ProjectID, name: String, address: IPAddress, listeners: [Listener] = [],
      networks: Set<NetworkID> = [], routers: Set<RouterID> = [], healthCheckSources: [SubnetID: IPAddress] = [:]
    ) {
      self.id = id
      self.project = project
      self.name = name
      self.address = address
      self.listeners = listeners
      self.networks = networks
      self.routers = routers
      self.healthCheckSources = healthCheckSources
    }

    public struct Listener: Sendable, Hashable {
      public var `protocol`: ListenerProtocol
      public var port: UInt16
      public var members: [Member]
      /// Nil: members count as healthy.
      public var healthCheck: HealthCheck?

      public init(
        protocol: ListenerProtocol, port: UInt16, members: [Member] = [], healthCheck: HealthCheck? = nil
      ) {
        self.protocol = `protocol`
        self.port = port
        self.members = members
        self.healthCheck = healthCheck
      }
    }

    public enum ListenerProtocol: String, Sendable, Hashable, CaseIterable { case tcp, udp }

    public struct Member: Sendable, Hashable {
      public var address: IPAddress
      public var port: UInt16
      /// Whose address it is; only then its health can be checked.
      public var nic: NICID?

      public init(address: IPAddress, port: UInt16, nic: NICID? = nil) {
        self.address = address
        self.port = port
        self.nic = nic
      }
    }

    /// A connection is tried (TCP) or a packet sent (UDP, where only an ICMP error counts as a failure). IPv4 only.
    public struct HealthCheck: Sendable, Hashable {
      /// Seconds between two checks.
      public var interval: Int
      /// Seconds until a check has failed.
      public var timeout: Int
      /// So many in a row, and the member gets nothing any more.
      public var failures: Int
      /// So many in a row, and it does again.
      public var successes: Int

      public init(interval: Int = 5, timeout: Int = 20, failures: Int = 3, successes: Int = 3) {
        self.interval = interval
        self.timeout = timeout
        self.failures = failures
        self.successes = successes
      }
    }
  }
}
