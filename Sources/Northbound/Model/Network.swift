import AloftModel
import IPAddressing

extension NetworkModel {
  /// A project's network: one broadcast domain that reaches over all nodes.
  public struct Network: Sendable, Hashable {
    public var id: NetworkID
    public var project: ProjectID
    public var name: String
    /// The largest packet of guests, in bytes; the underlay's less what tunnels add.
    public var mtu: Int
    /// In which the network's VMs have their names; nil: they have none. What is no domain name counts as nil.
    public var dnsDomain: String?
    public var subnets: [Subnet]

    public init(
      id: NetworkID, project: ProjectID, name: String, mtu: Int, dnsDomain: String? = nil, subnets: [Subnet] = []
    ) {
      self.id = id
      self.project = project
      self.name = name
      self.mtu = mtu
      self.dnsDomain = dnsDomain
      self.subnets = subnets
    }
  }

  /// A block of addresses in a network.
  public struct Subnet: Sendable, Hashable {
    public var id: SubnetID
    public var cidr: AddressBlock
    /// Where guests send what goes elsewhere. They are told of it once a router has this address.
    public var gateway: IPAddress?
    public var configuration: Configuration
    /// Of both address families; each is told by the protocol of its own. None: guests ask the metadata address, where only
    /// the network's own names are answered.
    public var dnsServers: [IPAddress]
    /// Told to guests beside the default route; IPv4 only (RFC 3442).
    public var hostRoutes: [Route]
    /// The metadata port's address in an IPv4 subnet: the way to 169.254.169.254, and who the DHCP server is.
    public var metadataAddress: IPAddress?

    public init(
      id: SubnetID, cidr: AddressBlock, gateway: IPAddress? = nil, configuration: Configuration = .dhcp,
      dnsServers: [IPAddress] = [], hostRoutes: [Route] = [], metadataAddress: IPAddress? = nil
    ) {
      self.id = id
      self.cidr = cidr
      self.gateway = gateway
      self.configuration = configuration
      self.dnsServers = dnsServers
      self.hostRoutes = hostRoutes
      self.metadataAddress = metadataAddress
    }

    /// How guests learn their addresses.
    public enum Configuration: String, Sendable, Hashable, CaseIterable {
      /// DHCPv4, or stateful DHCPv6.
      case dhcp
      /// IPv6 only: they make them from prefix and MAC address (RFC 4862).
      case slaac
      /// They are set up some other way.
      case none
    }
  }

  /// A way to a block of addresses.
  public struct Route: Sendable, Hashable {
    public var destination: AddressBlock
    public var nextHop: IPAddress

    public init(destination: AddressBlock, nextHop: IPAddress) {
      self.destination = destination
      self.nextHop = nextHop
    }
  }

  /// An address with the length of its subnet's prefix: `192.0.2.7/24`.
  public struct InterfaceAddress: Sendable, Hashable, CustomStringConvertible {
    public var address: IPAddress
    public var prefixLength: Int

    public init(address: IPAddress, prefixLength: Int) {
      self.address = address
      self.prefixLength = prefixLength
    }

    public var description: String { "\(address)/\(prefixLength)" }
  }

  /// A network outside of the cloud, which nodes reach by a bridge of their own.
  public struct ExternalNetwork: Sendable, Hashable {
    public var id: ExternalNetworkID
    public var name: String
    /// As the nodes' bridge mappings name it.
    public var physicalNetwork: String
    /// IEEE 802.1Q, 1 to 4094; nil: untagged.
    public var vlan: Int?
    /// The largest packet on it, in bytes.
    public var mtu: Int
    /// What projects may send from there with addresses of their own.
    public var routedBlocks: [RoutedBlock]
    /// The nodes with a bridge to it: what routers send here goes through some of them. None: there is no way out.
    ///
    /// This is configuration, not who works now: OVN sees that by itself (BFD, RFC 5880), and fails over.
    public var nodes: Set<NodeID>
    /// Those of them that are to carry it only where no other node can.
    public var sparedNodes: Set<NodeID>

    public init(
      id: ExternalNetworkID, name: String, physicalNetwork: String, vlan: Int? = nil, mtu: Int = 1500,
      routedBlocks: [RoutedBlock] = [], nodes: Set<NodeID> = [], sparedNodes: Set<NodeID> = []
    ) {
      self.id = id
      self.name = name
      self.physicalNetwork = physicalNetwork
      self.vlan = vlan
      self.mtu = mtu
      self.routedBlocks = routedBlocks
      self.nodes = nodes
      self.sparedNodes = sparedNodes
    }

    /// Addresses that are a project's own outside of the cloud, too.
    public struct RoutedBlock: Sendable, Hashable {
      public var project: ProjectID
      public var cidr: AddressBlock

      public init(project: ProjectID, cidr: AddressBlock) {
        self.project = project
        self.cidr = cidr
      }
    }
  }
}
