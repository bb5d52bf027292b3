import AloftModel
import XMLBuilder

/// A NIC of a domain, as libvirt tells it.
public struct DomainNIC: Sendable, Hashable {
  public var id: NICID
  public var mac: String

  public init(id: NICID, mac: String) {
    self.id = id
    self.mac = mac
  }
}

/// Which NICs of a guest cannot pass packets yet, and what is missing, in words.
public struct MissingPorts: Sendable, Hashable {
  public var nics: [NICID]
  public var reason: String

  public init(nics: [NICID], reason: String) {
    self.nics = nics
    self.reason = reason
  }
}

/// Everything that a NIC of a domain is defined from.
public struct NICSpecification: Sendable, Hashable {
  public var id: NICID
  public var mac: String
  /// The largest packet, in bytes.
  public var mtu: Int?
  /// Whether guest and host may leave checksums and segments to each other. ovs-vswitchd's own datapath reads packets without
  /// the virtio header that says so: with offloads every TCP connection would hang.
  public var offloads: Bool

  public init(_ nic: Assignment.NIC, in document: Assignment, platform: DomainPlatform) {
    id = nic.id
    mac = nic.mac
    mtu = document.networks?.first { $0.id == nic.network }?.mtu
    offloads = platform.datapath == .kernel
  }

  /// The bridge that OVN makes on every node.
  public static let bridge = "br-int"
  /// What the names of guests' tap devices begin with.
  public static let devicePrefix = "av"

  /// The tap device on the host, by which a port belongs to a NIC on every look: the 48 random bits at the end of its id.
  public static func device(of nic: NICID) -> String { devicePrefix + nic.port.suffix(12) }

  /// The device's name inside libvirt; libvirt lets only names with `ua-` be given.
  public static func alias(of nic: NICID) -> String { "ua-\(nic.port)" }

  /// The `<interface>` element.
  public var element: XML {
    .element("interface", ["type": "bridge"]) {
      XML.element("mac", ["address": mac])
      XML.element("source", ["bridge": Self.bridge])
      XML.element("virtualport", ["type": "openvswitch"]) { XML.element("parameters", ["interfaceid": id.port]) }
      XML.element("target", ["dev": Self.device(of: id)])
      XML.element("model", ["type": "virtio"])
      if !offloads { Self.noOffloads }
      if let mtu { XML.element("mtu", ["size": "\(mtu)"]) }
      // No boot from the network: its ROM would cost every start some time.
      XML.element("rom", ["enabled": "no"])
      XML.element("alias", ["name": Self.alias(of: id)])
    }
  }

  private static var noOffloads: XML {
    .element("driver", ["name": "qemu"]) {
      XML.element(
        "host",
        ["csum": "off", "gso": "off", "tso4": "off", "tso6": "off", "ecn": "off", "ufo": "off"])
      XML.element("guest", ["csum": "off", "tso4": "off", "tso6": "off", "ecn": "off", "ufo": "off"])
    }
  }
}
