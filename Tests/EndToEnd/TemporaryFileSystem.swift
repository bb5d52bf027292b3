import Foundation
import Glibc
import LibvirtTestSupport
import TestSupport

/// A file system in memory of a fixed size, so that a disk can be really full. It ends with ``unmount()``, or when the test
/// process dies, however it dies: a shell waits for the end of a pipe that only this process holds open.
final class TemporaryFileSystem: Sendable {
  let path: String
  private let watchdogPipe: Int32

  /// Whether this process may mount; an ordinary user may not, nor root in most containers.
  static func isPermitted() async -> Bool {
    let probe = FileManager.default.temporaryDirectory.appending(path: "aloft-mount-\(UUID().uuidString)").path
    guard let mounted = try? await TemporaryFileSystem(at: probe, mebibytes: 1) else { return false }
    try? await mounted.unmount()
    rmdir(probe)
    return true
  }

  /// Makes the folder and mounts there.
  init(at path: String, mebibytes: Int) async throws {
    self.path = path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    try await run("mount", "-t", "tmpfs", "-o", "size=\(mebibytes)m,mode=711", "tmpfs", path)
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { throw NoProcess(program: "mount") }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    defer { close(ends[0]) }
    _ = try spawn(
      ["setsid", "bash", "-c", "trap '' HUP INT TERM; read -r _; umount -l \"$1\"", "watchdog", path], input: ends[0])
    watchdogPipe = ends[1]
  }

  func unmount() async throws {
    // The watchdog does it; nobody has anything open there any more.
    close(watchdogPipe)
    let path = path
    _ = try await found("unmounting") { () -> Bool? in
      let mounts = try String(contentsOfFile: "/proc/self/mounts", encoding: .utf8)
      return mounts.contains(" \(path) ") ? nil : true
    }
  }

  /// Takes all the space that is left, so that nothing more can be written.
  func fill() throws {
    let file = try ballast(O_WRONLY | O_CREAT)
    defer { close(file) }
    for piece in [1 << 20, 4096] {
      let zeros = [UInt8](repeating: 0, count: piece)
      while write(file, zeros, piece) > 0 {}
    }
  }

  /// Gives it back.
  func free() { unlink(path + "/ballast") }

  private func ballast(_ flags: Int32) throws -> Int32 {
    let file = open(path + "/ballast", flags | O_CLOEXEC | O_APPEND, 0o600)
    guard file >= 0 else { throw NoProcess(program: "ballast") }
    return file
  }
}
