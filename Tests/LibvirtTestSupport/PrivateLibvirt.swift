import Foundation
import Glibc
import Libvirt
import TestSupport

/// A libvirtd of the test's own in a temporary directory (scripts/libvirt-private).
///
/// It and its guests end with ``stop()``, or when the test process dies, however it dies: a watchdog shell waits for the
/// end of a pipe that only this process holds open.
public final class PrivateLibvirt: Sendable {
  /// The folder of the daemon, and a good place for a test's disks.
  public let directory: URL
  /// Where it keeps what opens the secrets of its guests.
  public var stateDirectory: String { directory.appending(path: "lib/qemu").path }
  /// For ``Connection/open(_:options:logger:)``.
  public let uri: String
  private let watchdogPipe: Int32

  private init(directory: URL, uri: String, watchdogPipe: Int32) {
    self.directory = directory
    self.uri = uri
    self.watchdogPipe = watchdogPipe
  }

  /// The one for all tests of this process, started at the first use. Tests that kill it start their own.
  public static func shared() async throws -> PrivateLibvirt { try await sharedTask.value }
  private static let sharedTask = Task { try await PrivateLibvirt.start() }

  /// Starts a new one.
  ///
  /// - Parameter inMemory: its ``stateDirectory`` is in a tmpfs.
  public static func start(inMemory: Bool = false) async throws -> PrivateLibvirt {
    let directory = FileManager.default.temporaryDirectory
      .appending(path: "aloft-libvirt-\(UUID().uuidString.prefix(8))", directoryHint: .isDirectory)
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    if inMemory {
      let state = "/dev/shm/" + directory.lastPathComponent
      try FileManager.default.createDirectory(atPath: state, withIntermediateDirectories: true)
      try FileManager.default.createSymbolicLink(
        atPath: directory.appending(path: "lib").path, withDestinationPath: state)
    }
    let watchdogPipe = try startWatchdog(directory)
    let uri = try await run(script("libvirt-private"), "start", directory.path)
    return PrivateLibvirt(
      directory: directory, uri: uri.trimmingCharacters(in: .whitespacesAndNewlines), watchdogPipe: watchdogPipe)
  }

  /// Ends libvirtd and its guests and removes the directory.
  public func stop() async throws {
    try await run(script("libvirt-private"), "stop", directory.path, "--guests")
    close(watchdogPipe)
    try? FileManager.default.removeItem(at: directory)
    try? FileManager.default.removeItem(atPath: "/dev/shm/" + directory.lastPathComponent)
  }

  /// Kills libvirtd as a crash would; guests go on.
  public func kill9() async throws { try await run(script("libvirt-private"), "kill9", directory.path) }

  /// Starts libvirtd again; it finds its guests.
  public func restart() async throws { try await run(script("libvirt-private"), "start", directory.path) }

  /// The pid of a running guest's QEMU, by the domain's name.
  public func guestPid(_ name: String) throws -> Int32? {
    for folder in ["run/libvirt/qemu", "run/libvirt/qemu/run"] {
      let file = directory.appending(path: "\(folder)/\(name).pid")
      if let text = try? String(contentsOf: file, encoding: .utf8) {
        return Int32(text.trimmingCharacters(in: .whitespacesAndNewlines))
      }
    }
    return nil
  }

  private static let watchdog = """
    trap '' HUP INT TERM
    read -r _
    if [ -d "$1" ]; then "$0" stop "$1" --guests; rm -rf "$1" "/dev/shm/${1##*/}"; fi
    """

  /// Returns the pipe's writing end.
  private static func startWatchdog(_ directory: URL) throws -> Int32 {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { throw CommandFailure(command: "pipe", status: errno, output: "") }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    defer { close(ends[0]) }
    _ = try spawn(
      ["setsid", "bash", "-c", watchdog, script("libvirt-private"), directory.path], input: ends[0])
    return ends[1]
  }
}
