import Foundation
import Glibc
import TestSupport
import Testing

@testable import NodeAgent

/// A process whose arguments say what a test wants; it does nothing and ends with this object.
private final class Impostor: Sendable {
  let pid: pid_t

  init(_ program: String, _ arguments: String...) async throws {
    pid = try spawn(
      ["bash", "-c", #"exec -a "$0" perl -e 'sleep 600' -- "$@""#, program] + arguments)
    let pid = pid
    // Until then it is still bash.
    _ = try await found("the program to run") { QEMUProcess.arguments(of: pid).first == program ? true : nil }
  }

  deinit {
    kill(pid, SIGKILL)
    reap(pid)
  }

  var runs: Bool { processRuns(pid) }
}

@Suite("The QEMU that libvirt cannot reach")
struct QEMUProcessTests {
  let uuid = UUID()
  private var text: String { uuid.uuidString.lowercased() }

  @Test("the QEMU of the VM is killed, and no other process that looks a little like it")
  func real() async throws {
    let qemu = "/usr/bin/qemu-system-x86_64"
    let wanted = try await Impostor(qemu, "-name", "guest=vm", "-uuid", text, "-display", "none")
    let others = [
      try await Impostor(qemu, "-name", "guest=vm", "-uuid", UUID().uuidString.lowercased()),
      try await Impostor(qemu, "-name", "-uuid=" + text), try await Impostor(qemu, "-uuid", text + "0"),
      try await Impostor(qemu, "-smbios", "type=1,uuid=" + text), try await Impostor(qemu, text, "-uuid"),
      try await Impostor("/usr/bin/qemu-img", "-uuid", text), try await Impostor("/usr/bin/grep", "-uuid", text),
    ]
    #expect(await QEMUProcess.kill(uuid: uuid))
    _ = try await found("its end") { wanted.runs ? nil : true }
    for other in others { #expect(other.runs) }
    #expect(await !QEMUProcess.kill(uuid: uuid), "there is none any more")
    for other in others { #expect(other.runs) }
  }

  @Test("a process that has the pid of one that ended meanwhile is left alone")
  func reusedPid() async throws {
    // The process that was found ends after it was pinned; what is read then is another one's.
    let first = try spawn(["sleep", "600"])
    let killed = QEMUProcess.kill(first, ifItRuns: uuid) { process in
      kill(process, SIGKILL)
      reap(process)
      return ["/usr/bin/qemu-system-x86_64", "-uuid", text]
    }
    #expect(!killed)
  }

  @Test("arguments that name two UUIDs, or none behind the option, are nobody's")
  func unclear() {
    #expect(QEMUProcess.isQEMU(["qemu-system-x86_64", "-uuid", text], of: uuid))
    #expect(!QEMUProcess.isQEMU(["qemu-system-x86_64", "-uuid", text, "-uuid", text], of: uuid))
    #expect(!QEMUProcess.isQEMU(["qemu-system-x86_64", "-uuid"], of: uuid))
    #expect(!QEMUProcess.isQEMU([], of: uuid))
  }
}
