import CLinux
import Execution
import Foundation
import Glibc

/// The last resort for a guest that libvirt cannot reach: its QEMU, found in /proc by the VM's UUID.
///
/// A libvirtd that died while it started a guest can come back and wait for that QEMU's monitor for ever; every call about the
/// domain then times out on its lock, also the one that cuts the power. When the process is gone, the wait ends.
///
/// No other process is ever signalled: a pid is pinned by a descriptor *before* its arguments are read, so what is killed is
/// what was looked at, even if the pid has been given to another process meanwhile.
enum QEMUProcess {
  private static let thread = DedicatedThread(name: "qemu-process")

  /// Kills the QEMU that runs the VM of this UUID. Returns whether there was one.
  static func kill(uuid: UUID) async -> Bool {
    await thread.run {
      let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
      return names.compactMap { pid_t($0) }.map { kill($0, ifItRuns: uuid) }.contains(true)
    }
  }

  /// Kills one process if it is the QEMU of the VM; otherwise nothing happens.
  static func kill(_ process: pid_t, ifItRuns uuid: UUID, arguments: (pid_t) -> [String] = arguments) -> Bool {
    let descriptor = pidfd_open(process, 0)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    guard isQEMU(arguments(process), of: uuid) else { return false }
    return pidfd_send_signal(descriptor, SIGKILL, nil, 0) == 0
  }

  static func arguments(of process: pid_t) -> [String] {
    guard let line = FileManager.default.contents(atPath: "/proc/\(process)/cmdline") else { return [] }
    return line.split(separator: 0, omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
  }

  /// libvirt gives every QEMU `-uuid` and the domain's UUID: the argument behind it is exactly that, and the program's name
  /// begins as those of QEMU's system emulators do (`qemu-system-x86_64`, `qemu-kvm`).
  static func isQEMU(_ arguments: [String], of uuid: UUID) -> Bool {
    guard let program = arguments.first?.split(separator: "/").last,
      program.hasPrefix("qemu-system-") || program == "qemu-kvm"
    else { return false }
    let options = arguments.indices.filter { arguments[$0] == "-uuid" }
    guard options.count == 1, let option = options.first, option + 1 < arguments.count else { return false }
    return arguments[option + 1] == uuid.uuidString.lowercased()
  }
}
