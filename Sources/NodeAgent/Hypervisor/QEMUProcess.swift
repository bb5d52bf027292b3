import CLinux
import Execution
import Foundation
import Glibc

/// The last resort for a guest that libvirt cannot reach: its QEMU, found in /proc by the VM's UUID.
///
/// * A libvirtd that died while it started a guest can come back and wait for that QEMU's monitor for ever; every call about the
///   domain then times out on its lock, also the one that cuts the power. When the process is gone, the wait ends.
/// * A libvirtd that comes back and cannot read what it had written down about a guest forgets that it runs
///   (LibvirtHypervisor+Forgotten.swift).
///
/// No other process is ever signalled: a pid is pinned by a descriptor *before* its arguments are read, so what is killed is
/// what was looked at, even if the pid has been given to another process meanwhile.
enum QEMUProcess {
  private static let thread = DedicatedThread(name: "qemu-process")

  /// Kills the QEMU that runs the VM of this UUID, and waits for its end. Returns whether there was one.
  static func kill(uuid: UUID) async -> Bool {
    await thread.run { processes().map { kill($0, ifItRuns: uuid) }.contains(true) }
  }

  /// As ``kill(uuid:)``, for one process only, and only if it writes to this file: hosts that are simulated on one machine see the
  /// processes of each other.
  static func kill(_ process: pid_t, ifItRuns uuid: UUID, writingTo file: String) async -> Bool {
    await thread.run {
      kill(process, ifItRuns: uuid) { hasOpen($0, file) ? arguments(of: $0) : [] }
    }
  }

  /// All that run VMs now, with the VMs' UUIDs.
  static func all() async -> [(process: pid_t, uuid: UUID)] {
    await thread.run { processes().compactMap { process in uuid(arguments(of: process)).map { (process, $0) } } }
  }

  private static func processes() -> [pid_t] {
    ((try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []).compactMap { pid_t($0) }
  }

  /// Kills one process if it is the QEMU of the VM; otherwise nothing happens. What it had open is closed when this returns, unless
  /// the kernel takes longer than five seconds for it.
  static func kill(_ process: pid_t, ifItRuns uuid: UUID, arguments: (pid_t) -> [String] = arguments) -> Bool {
    let descriptor = pidfd_open(process, 0)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    guard isQEMU(arguments(process), of: uuid), pidfd_send_signal(descriptor, SIGKILL, nil, 0) == 0 else {
      return false
    }
    var end = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    _ = poll(&end, 1, 5_000)
    return true
  }

  private static func hasOpen(_ process: pid_t, _ file: String) -> Bool {
    var wanted = stat()
    guard stat(file, &wanted) == 0 else { return false }
    let folder = "/proc/\(process)/fd"
    return ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).contains {
      var found = stat()
      return stat("\(folder)/\($0)", &found) == 0 && found.st_dev == wanted.st_dev && found.st_ino == wanted.st_ino
    }
  }

  static func arguments(of process: pid_t) -> [String] {
    guard let line = FileManager.default.contents(atPath: "/proc/\(process)/cmdline") else { return [] }
    return line.split(separator: 0, omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
  }

  /// Whether these are the arguments of the QEMU of a VM.
  static func isQEMU(_ arguments: [String], of uuid: UUID) -> Bool { self.uuid(arguments) == uuid }

  /// libvirt gives every QEMU `-uuid` and the domain's UUID: the argument behind it is exactly that, and the program's name
  /// begins as those of QEMU's system emulators do (`qemu-system-x86_64`, `qemu-kvm`).
  private static func uuid(_ arguments: [String]) -> UUID? {
    guard let program = arguments.first?.split(separator: "/").last,
      program.hasPrefix("qemu-system-") || program == "qemu-kvm"
    else { return nil }
    let options = arguments.indices.filter { arguments[$0] == "-uuid" }
    guard options.count == 1, let option = options.first, option + 1 < arguments.count else { return nil }
    return UUID(uuidString: arguments[option + 1])
  }
}
