import CLibvirt
import Glibc

/// An interface of a guest, as seen from somewhere.
public struct GuestInterface: Sendable, Hashable {
  /// The guest's name for it when its agent was asked, else the host's.
  public var name: String
  public var mac: String?
  public var addresses: [Address]

  public struct Address: Sendable, Hashable {
    public var address: String
    public var prefix: UInt32
  }
}

extension Domain {
  /// Whom to ask; `virDomainInterfaceAddressesSource`.
  public enum AddressSource: Sendable {
    /// The DHCP server of libvirt's own networks.
    case lease
    /// QEMU's guest agent. Throws `agentUnresponsive` if it does not run.
    case agent
    /// The host's neighbour tables.
    case arp
  }

  /// The addresses of a running guest.
  public func interfaceAddresses(from source: AddressSource) async throws(LibvirtError) -> [GuestInterface] {
    let number =
      switch source {
      case .lease: VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE.rawValue
      case .agent: VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT.rawValue
      case .arp: VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP.rawValue
      }
    return try await long { domain throws(LibvirtError) in
      var list: UnsafeMutablePointer<virDomainInterfacePtr?>?
      let count = try LibvirtError.check(virDomainInterfaceAddresses(domain, &list, number, 0))
      defer { free(list) }
      var interfaces: [GuestInterface] = []
      for case let pointer? in UnsafeBufferPointer(start: list, count: Int(count)) {
        let interface = pointer.pointee
        let addresses = UnsafeBufferPointer(start: interface.addrs, count: Int(interface.naddrs)).map { address in
          GuestInterface.Address(address: address.addr.map { String(cString: $0) } ?? "", prefix: address.prefix)
        }
        interfaces.append(
          GuestInterface(
            name: interface.name.map { String(cString: $0) } ?? "", mac: interface.hwaddr.map { String(cString: $0) },
            addresses: addresses))
        virDomainInterfaceFree(pointer)
      }
      return interfaces
    }
  }
}
