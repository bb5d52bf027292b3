import AloftModel
import IPAddressing

extension NetworkModel {
  /// A project's router.
  public struct Router: Sendable, Hashable {
    public var id: RouterID
    public var project: ProjectID
    public var name: String
    /// One for each network: subnets of one network share it.
    public var interfaces: [Interface]
    public var routes: [Route]
    /// The way out; nil: none.
    public var gateway: Gateway?

    public init(
      id: RouterID, project: ProjectID, name: String, interfaces: [Interface] = [], routes: [Route] = [],
      gateway: Gateway? = nil
    ) {
      self.id = id
      self.project = project
      self.name = name
      self.interfaces = interfaces
      self.routes = routes
      self.gateway = gateway
    }

    /// The router's port in a network.
    public struct Interface: Sendable, Hashable {
      public var network: NetworkID
      public var mac: MACAddress
      /// One for each subnet that is routed, usually the subnet's gateway.
      public var addresses: [Address]

      public init(network: NetworkID, mac: MACAddress, addresses: [Address]) {
        self.network = network
        self.mac = mac
        self.addresses = addresses
      }

      /// The router's address in a subnet.
      public struct Address: Sendable, Hashable {
        public var subnet: SubnetID
        public var address: IPAddress

        public init(subnet: SubnetID, address: IPAddress) {
          self.subnet = subnet
          self.address = address
        }
      }
    }

    /// The router's port in an external network.
    public struct Gateway: Sendable, Hashable {
      public var externalNetwork: ExternalNetworkID
      public var mac: MACAddress
      /// At most one of each address family is used as the source of SNAT.
      public var addresses: [InterfaceAddress]
      /// The default routes: at most one of each address family, unless ``Router/routes`` has its own.
      public var nextHops: [IPAddress]
      /// Whether IPv4 subnets reach the outside by the gateway's address.
      public var usesSNAT: Bool

      public init(
        externalNetwork: ExternalNetworkID, mac: MACAddress, addresses: [InterfaceAddress], nextHops: [IPAddress],
        usesSNAT: Bool = true
      ) {
        self.externalNetwork = externalNetwork
        self.mac = mac
        self.addresses = addresses
        self.nextHops = nextHops
        self.usesSNAT = usesSNAT
      }
    }
  }

  /// An address of an external network that leads to a NIC, in both directions.
  public struct FloatingIP: Sendable, Hashable {
    public var id: FloatingIPID
    /// The one whose gateway is in the address's network.
    public var router: RouterID
    public var address: IPAddress
    public var nic: NICID
    /// The NIC's address that is meant.
    public var fixedAddress: IPAddress
    /// Where the outside sends to: the NIC's own node answers for it.
    public var mac: MACAddress

    public init(
      id: FloatingIPID, router: RouterID, address: IPAddress, nic: NICID, fixedAddress: IPAddress, mac: MACAddress
    ) {
      self.id = id
      self.router = router
      self.address = address
      self.nic = nic
      self.fixedAddress = fixedAddress
      self.mac = mac
    }
  }

  /// A link between two routers.
  public struct Peering: Sendable, Hashable {
    public var id: NetworkPeeringID
    public var first: Side
    public var second: Side

    public init(id: NetworkPeeringID, first: Side, second: Side) {
      self.id = id
      self.first = first
      self.second = second
    }

    public struct Side: Sendable, Hashable {
      public var router: RouterID
      /// Of the link's end here.
      public var mac: MACAddress
      /// Of the link's end here, one of each address family in use.
      public var addresses: [InterfaceAddress]
      /// What the other side may reach here.
      public var reachable: [AddressBlock]

      public init(router: RouterID, mac: MACAddress, addresses: [InterfaceAddress], reachable: [AddressBlock]) {
        self.router = router
        self.mac = mac
        self.addresses = addresses
        self.reachable = reachable
      }
    }
  }
}
