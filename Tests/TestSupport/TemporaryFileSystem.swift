import Foundation
import Glibc

/// A file system in memory of a fixed size, so that a disk can be really full. It ends with ``unmount()``, or when the test
/// process dies, however it dies: a shell waits for the end of a pipe that only this process holds open.
public final class TemporaryFileSystem: Sendable {
  public let path: String
  private let watchdogPipe: Int32

  /// Whether this process may mount; an ordinary user may not, nor root in most containers.
  public static func isPermitted() async -> Bool {
    let probe = FileManager.default.temporaryDirectory.appending(path: "aloft-mount-\(UUID().uuidString)").path
    guard let mounted = try? await TemporaryFileSystem(at: probe, mebibytes: 1) else { return false }
    try? await mounted.unmount()
    rmdir(probe)
    return true
  }

  /// Makes the folder and mounts there.
  public init(at path: String, mebibytes: Int) async throws {
    self.path = path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    try await run("mount", "-t", "tmpfs", "-o", "size=\(mebibytes)m,mode=711", "tmpfs", path)
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { throw CommandFailure(command: "pipe", status: errno, output: "") }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    defer { close(ends[0]) }
    _ = try spawn(
      ["setsid", "bash", "-c", "trap '' HUP INT TERM; read -r _; umount -l \"$1\"", "watchdog", path], input: ends[0])
    watchdogPipe = ends[1]
  }

  /// Takes the file system away; nobody may have anything open there any more.
  public func unmount() async throws {
    // The watchdog does it.
    close(watchdogPipe)
    let path = path
    _ = try await found("unmounting") { () -> Bool? in
      let mounts = try String(contentsOfFile: "/proc/self/mounts", encoding: .utf8)
      return mounts.contains(" \(path) ") ? nil : true
    }
  }

  /// Takes all the space that is left, so that nothing more can be written.
  public func fill() throws {
    let file = open(path + "/ballast", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    guard file >= 0 else { throw CommandFailure(command: "open \(path)/ballast", status: errno, output: "") }
    defer { close(file) }
    for piece in [1 << 20, 4096] {
      let zeros = [UInt8](repeating: 0, count: piece)
      while write(file, zeros, piece) > 0 {}
    }
  }

  /// Gives it back.
  public func free() { unlink(path + "/ballast") }
}
