import AloftModel
import IPAddressing

extension NetworkModel {
  /// A network interface of a VM.
  public struct NIC: Sendable, Hashable {
    public var id: NICID
    public var network: NetworkID
    public var vm: VMID
    /// The VM's name in the network's DNS domain; what is no host name (RFC 1123) has none.
    public var hostname: String
    public var mac: MACAddress
    public var addresses: [Address]
    /// None: everything is let through. Otherwise only what one of them allows.
    public var securityGroups: Set<SecurityGroupID>
    /// Whether the guest may send only from its own MAC address and addresses, and the allowed pairs.
    public var isProtected: Bool
    public var allowedPairs: [AllowedPair]
    public var bandwidth: Bandwidth
    /// The node that may have the port; nil: none.
    public var node: NodeID?

    public init(
      id: NICID, network: NetworkID, vm: VMID, hostname: String, mac: MACAddress, addresses: [Address] = [],
      securityGroups: Set<SecurityGroupID> = [], isProtected: Bool = true, allowedPairs: [AllowedPair] = [],
      bandwidth: Bandwidth = Bandwidth(), node: NodeID? = nil
    ) {
      self.id = id
      self.network = network
      self.vm = vm
      self.hostname = hostname
      self.mac = mac
      self.addresses = addresses
      self.securityGroups = securityGroups
      self.isProtected = isProtected
      self.allowedPairs = allowedPairs
      self.bandwidth = bandwidth
      self.node = node
    }

    /// An address in a subnet of the NIC's network. In a subnet with SLAAC guests use the one that their MAC address gives,
    /// and it counts instead of any other.
    public struct Address: Sendable, Hashable {
      public var subnet: SubnetID
      public var address: IPAddress

      public init(subnet: SubnetID, address: IPAddress) {
        self.subnet = subnet
        self.address = address
      }
    }

    /// What the guest may send from, too: addresses of a VRRP router, of containers.
    public struct AllowedPair: Sendable, Hashable {
      /// Nil: the NIC's own.
      public var mac: MACAddress?
      public var addresses: AddressBlock

      public init(mac: MACAddress? = nil, addresses: AddressBlock) {
        self.mac = mac
        self.addresses = addresses
      }
    }

    /// Limits in kbit/s; nil: none.
    public struct Bandwidth: Sendable, Hashable {
      /// To the guest.
      public var incoming: Int?
      /// From the guest.
      public var outgoing: Int?

      public init(incoming: Int? = nil, outgoing: Int? = nil) {
        self.incoming = incoming
        self.outgoing = outgoing
      }
    }
  }
}
