import AloftModel
import OVSDB

extension OpenVSwitch {
  /// Removes ports that nobody owns, and gives guests back those that they lost.
  func repair() async {
    guard let actual, actual.integration != nil, let guests = await guests() else { return }
    let nics = guests.values.flatMap { $0.map { NICSpecification.device(of: $0.id) } }
    let promiscuity = await links.promiscuity(of: Set(actual.ports.keys).union(nics))
    // The kernel's datapath follows devices by itself.
    let isOpen = { [datapath] (device: String) in promiscuity[device].map { $0 || datapath == .kernel } }
    for repair in care.repairs(ports: actual.ports, guests: guests, isOpen: isOpen, now: clock.now().uptime) {
      logger.notice("a port is not as it should be", metadata: ["repair": "\(repair)"])
      switch repair {
      case .remove(let device): await removePort(device)
      case .add(let device, let nic, let vm): await addPort(device, nic, vm)
      case .replace(let device, let nic, let vm):
        await removePort(device)
        await addPort(device, nic, vm)
      }
    }
  }

  /// If it is there.
  func removePort(_ device: String) async {
    guard let port = actual?.ports[device] else { return }
    _ = await commit([port.removal])
  }

  private func addPort(_ device: String, _ nic: DomainNIC, _ vm: VMID) async {
    guard let bridge = actual?.integration, actual?.ports[device] == nil else { return }
    _ = await commit(
      LocalSwitch.addition(
        of: device, to: bridge, externalIDs: PortCare.Repair.externalIDs(nic, vm), name: "guest"))
  }

  /// The NICs of all guests that have a QEMU; nil when nobody knows.
  private func guests() async -> [VMID: [DomainNIC]]? {
    do throws(AgentFailure) {
      var guests: [VMID: [DomainNIC]] = [:]
      for domain in try await hypervisor.domains() where domain.power.isActive {
        guests[domain.vm] = try await hypervisor.nics(of: domain.vm)
      }
      return guests
    } catch {
      // A guest that went meanwhile is one of the reasons: the next look knows.
      return nil
    }
  }
}
