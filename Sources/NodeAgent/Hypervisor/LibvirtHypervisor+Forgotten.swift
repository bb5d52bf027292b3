import AloftModel
import Libvirt
import Logging

// A libvirtd that was killed at a bad moment may have written down of a guest what it cannot read when it is back: 9.0 does so at the
// end of a copy to another pool ("unknown mirror job type"). It takes the domain for off then, while QEMU runs on and writes. Nothing
// that is done with such a VM is right: its volumes would be copied as if they were at rest, it could not be started, and nobody could
// end it. libvirt cannot be told of a QEMU that it did not start, so that the guest loses its power, and is started again as one that
// has crashed.

extension Connection {
  /// Ends the guests that run while libvirt says that they are off. To be called before anything else is done with a libvirtd that
  /// may have been started again.
  func endForgottenGuests(logger: Logger) async {
    // In this order: what was not started by the time libvirt says that it is off is not looked at.
    for (process, uuid) in await QEMUProcess.all() {
      let (vm, domain) = (VMID(uuid), domain(uuid))
      do throws(LibvirtError) {
        guard try await domain.name() == vm.description, !(try await domain.isActive()),
          let log = try ParsedXML(try await domain.xml(.stored)).text("/domain/devices/serial/source/@path"),
          await QEMUProcess.kill(process, ifItRuns: uuid, writingTo: log)
        else { continue }
        logger.warning(
          "libvirt had forgotten that this machine runs; its QEMU was killed",
          metadata: ["vm": "\(vm)", "pid": "\(process)"])
      } catch {
        // Another host's, or another program's.
        if error.code == .noDomain { continue }
        logger.warning(
          "libvirt cannot be asked whether it knows that a machine runs",
          metadata: ["vm": "\(vm)", "failure": "\(error)"])
      }
    }
  }
}
