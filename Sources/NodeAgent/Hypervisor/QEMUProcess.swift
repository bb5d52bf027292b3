import Execution
import Foundation
import Glibc

/// The last resort for a guest that libvirt cannot reach: its QEMU, found in /proc by the VM's UUID.
///
/// A libvirtd that died while it started a guest can come back and wait for that QEMU's monitor for ever; every call about the
/// domain then times out on its lock, also the one that cuts the power. When the process is gone, the wait ends.
enum QEMUProcess {
  private static let thread = DedicatedThread(name: "qemu-process")

  /// Kills the QEMU that runs the VM of this UUID. Returns whether there was one.
  static func kill(uuid: UUID) async -> Bool {
    await thread.run {
      let found = processes(uuid: uuid)
      for process in found { _ = Glibc.kill(process, SIGKILL) }
      return !found.isEmpty
    }
  }

  /// libvirt gives every QEMU `-uuid` and the domain's UUID; the argument after it must be exactly that.
  private static func processes(uuid: UUID) -> [pid_t] {
    let wanted = uuid.uuidString.lowercased()
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return names.compactMap { pid_t($0) }.filter { process in
      guard let line = FileManager.default.contents(atPath: "/proc/\(process)/cmdline") else { return false }
      let arguments = line.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
      guard let program = arguments.first, program.split(separator: "/").last?.hasPrefix("qemu") == true else {
        return false
      }
      return zip(arguments, arguments.dropFirst()).contains { $0 == "-uuid" && $1.lowercased() == wanted }
    }
  }
}
