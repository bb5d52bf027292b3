// What the agent protocol says about networks. All of it is optional where it stands in older messages.

/// How guests' packets are switched on a node.
public enum Datapath: String, Sendable, Codable, CaseIterable {
  /// By the kernel's module.
  case kernel
  /// By ovs-vswitchd itself: slower, and guests must compute all checksums.
  case userspace
}

/// In a ``NodeReport``: whether the node can connect VMs to networks.
public struct NodeNetworking: Sendable, Codable, Equatable {
  /// Nil when there is no Open vSwitch that runs.
  public var datapath: Datapath?
  /// Where other nodes send packets for this one.
  public var tunnelAddress: String?
  /// Names of the physical networks that the node is connected to.
  public var physicalNetworks: [String]
  /// What is missing; nil: VMs with NICs can run here.
  public var problem: String?

  public init(datapath: Datapath?, tunnelAddress: String?, physicalNetworks: [String] = [], problem: String? = nil) {
    self.datapath = datapath
    self.tunnelAddress = tunnelAddress
    self.physicalNetworks = physicalNetworks
    self.problem = problem
  }
}

/// In a ``LeaseAnswer``: what a node needs to know to take part in networks.
public struct NetworkFabric: Sendable, Codable, Equatable {
  /// OVN's southbound servers as OVSDB names them, such as `ssl:10.0.0.1:6642`; several are the members of one cluster.
  public var southbound: [String]

  public init(southbound: [String]) { self.southbound = southbound }
}

extension Assignment {
  /// A network that the VM is connected to.
  public struct Network: Sendable, Codable, Equatable {
    public var id: NetworkID
    public var name: String
    /// The largest packet, in bytes.
    public var mtu: Int
    /// In which the network's VMs have their names; nil: nowhere.
    public var dnsDomain: String?
    /// The addresses of the network's metadata port beside 169.254.169.254 and fe80::a9fe:a9fe, with the length of their
    /// subnet: `10.0.0.2/24`. Guests' answers come to these subnets.
    public var metadataAddresses: [String]

    public init(id: NetworkID, name: String, mtu: Int, dnsDomain: String?, metadataAddresses: [String]) {
      self.id = id
      self.name = name
      self.mtu = mtu
      self.dnsDomain = dnsDomain
      self.metadataAddresses = metadataAddresses
    }
  }

  /// A network interface of the VM. Its UUID is the name of its port in OVN.
  public struct NIC: Sendable, Codable, Equatable {
    public var id: NICID
    public var network: NetworkID
    public var mac: String
    /// Its addresses, with the length of their subnet: `10.0.0.5/24`.
    public var addresses: [String]

    public init(id: NICID, network: NetworkID, mac: String, addresses: [String]) {
      self.id = id
      self.network = network
      self.mac = mac
      self.addresses = addresses
    }
  }
}

extension NetworkID {
  /// The name of the network's metadata port in OVN, and so the `iface-id` of the interface that every node gives it.
  public var metadataPort: String { "metadata-" + uuid.uuidString.lowercased() }

  /// The metadata port's MAC address, the same on every node: a guest that moves keeps what it knows.
  public var metadataMAC: String {
    let tail = withUnsafeBytes(of: uuid.uuid) { Array($0.suffix(5)) }
    return (["02"] + tail.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }).joined(separator: ":")
  }
}

extension NICID {
  /// The name of the NIC's port in OVN: libvirt takes only UUIDs.
  public var port: String { uuid.uuidString.lowercased() }
}
