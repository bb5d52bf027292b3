import AloftModel

/// Finds ports that nobody owns, and guests without theirs. Pure: what it saw goes in, what to do comes out.
///
/// Invariants
/// - Only ports whose device has the name that follows from their NIC are Aloft's, or ones of the metadata service.
/// - Nothing is done at first sight: libvirt makes port and domain one after the other, in any order, and needs its time.
struct PortCare: Sendable {
  /// What is wrong with a port, by the name of its device.
  enum Fault: Hashable, Sendable {
    /// No guest has it.
    case unowned(String)
    /// A guest's device is in no bridge.
    case missing(String)
    /// Its device is another one by now: Open vSwitch holds one that is gone, and says nothing of it.
    case dead(String)
  }

  enum Repair: Hashable, Sendable {
    case remove(device: String)
    case add(device: String, nic: DomainNIC, vm: VMID)
    /// Remove it, and add it in a transaction of its own: together they would be no change to Open vSwitch.
    case replace(device: String, nic: DomainNIC, vm: VMID)
  }

  /// Milliseconds that a fault has to last.
  static let patience = 8_000

  private var since: [Fault: Int] = [:]

  /// What has to be repaired now.
  ///
  /// - Parameters:
  ///   - guests: the NICs of every guest that has a QEMU.
  ///   - isOpen: whether a network device of the host, if it is there, is the one that Open vSwitch has opened.
  ///   - now: milliseconds of uptime.
  mutating func repairs(
    ports: [String: LocalSwitch.Port], guests: [VMID: [DomainNIC]], isOpen: (String) -> Bool?, now: Int
  ) -> [Repair] {
    var found: [Fault: Repair] = [:]
    var owners: [NICID: (nic: DomainNIC, vm: VMID)] = [:]
    for (vm, nics) in guests { for nic in nics { owners[nic.id] = (nic, vm) } }
    for (device, port) in ports {
      let nic = LocalSwitch.nic(device: device, port)
      guard nic != nil || device.hasPrefix(MetadataNetwork.devicePrefix) else { continue }
      let isDead = isOpen(device).map { !$0 || port.error != nil } ?? false
      if let nic {
        if let owner = owners[nic] {
          if isDead { found[.dead(device)] = .replace(device: device, nic: owner.nic, vm: owner.vm) }
        } else {
          found[.unowned(device)] = .remove(device: device)
        }
      } else if isDead {
        found[.dead(device)] = .remove(device: device)
      }
    }
    for (nic, vm) in owners.values {
      let device = NICSpecification.device(of: nic.id)
      guard ports[device] == nil, isOpen(device) != nil else { continue }
      found[.missing(device)] = .add(device: device, nic: nic, vm: vm)
    }
    since = found.reduce(into: [:]) { result, entry in result[entry.key] = since[entry.key] ?? now }
    return found.filter { now - (since[$0.key] ?? now) >= Self.patience }.map(\.value)
  }
}

extension PortCare.Repair {
  /// The external ids that libvirt gives a port (virnetdevopenvswitch.c).
  static func externalIDs(_ nic: DomainNIC, _ vm: VMID) -> [String: String] {
    [
      "attached-mac": nic.mac, "iface-id": nic.id.port, "iface-status": "active",
      "vm-id": vm.uuid.uuidString.lowercased(),
    ]
  }
}
