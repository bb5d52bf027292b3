import CLibvirt
import Execution
import Glibc

/// libvirt's event loop: one for the process, on a thread of its own. It delivers events, answers keep-alive probes and
/// moves the data of non-blocking streams. libvirt demands that it be registered before the first connection is opened.
enum EventLoop {
  /// Starts the loop at the first use; false if libvirt could not set it up.
  static let isRunning: Bool = {
    // libvirt writes to its socket with plain write(2): without this a dying libvirtd would take the process with it.
    signal(SIGPIPE, SIG_IGN)
    // libvirt's default prints every error to stderr; here errors are thrown.
    virSetErrorFunc(nil) { _, _ in }
    guard virInitialize() == 0, virEventRegisterDefaultImpl() == 0 else { return false }
    let thread = DedicatedThread(name: "libvirt-events")
    Task {
      await thread.run {
        while true {
          // It fails only if poll(2) does. A pause keeps a lasting failure from eating a core.
          if virEventRunDefaultImpl() < 0 { usleep(100_000) }
        }
      }
    }
    return true
  }()
}
