import Foundation
import Glibc
import LibvirtTestSupport
import NodeAgent
import TestSupport

/// A Ceph cluster of the tests' own (scripts/ceph-private): one for the process, with a pool for each test.
///
/// It ends when the test process does, however it dies: a watchdog shell waits for the end of a pipe that only this process
/// holds open.
public final class PrivateCeph: Sendable {
  public static let isInstalled = FileManager.default.fileExists(atPath: "/usr/bin/ceph-osd")
  public static let missing = "there is no Ceph on this machine: scripts/install-packages ceph"

  public let directory: String
  private let watchdogPipe: Int32

  private init(_ directory: String, _ watchdogPipe: Int32) {
    self.directory = directory
    self.watchdogPipe = watchdogPipe
  }

  /// The cluster, started by the first test that asks.
  public static func shared() async throws -> PrivateCeph { try await sharedTask.value }
  private static let sharedTask = Task { try await PrivateCeph.start() }

  private static func start() async throws -> PrivateCeph {
    // Not the folder for temporary files: the paths of Ceph's sockets have to be short.
    let directory = "/tmp/aloft-ceph-\(UUID().uuidString.prefix(8).lowercased())"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    let watchdogPipe = try startWatchdog(directory)
    try await run(script("ceph-private"), "start", directory)
    return PrivateCeph(directory, watchdogPipe)
  }

  /// A new pool and a client that may use it.
  public func access() async throws -> CephAccess {
    let name = "p" + UUID().uuidString.prefix(8).lowercased()
    try await run(script("ceph-private"), "start", directory, name)
    return CephAccess(
      pool: name, client: name, configuration: directory + "/ceph.conf", keyring: try await client(name, of: name))
  }

  /// Another client of a pool, as another node has; returns its keyring.
  public func client(_ name: String, of pool: String) async throws -> String {
    let keyring = try await run(script("ceph-private"), "client", directory, name, pool).trimmingCharacters(
      in: .whitespacesAndNewlines)
    for line in try String(contentsOfFile: keyring, encoding: .utf8).split(separator: "\n") {
      // The secret itself may end in `=`.
      let words = line.split(separator: "=", maxSplits: 1).map { $0.trimmingCharacters(in: .whitespaces) }
      if words.first == "key" { TestSecrets.register(words[1]) }
    }
    return keyring
  }

  /// Runs a program as the cluster's administrator.
  @discardableResult
  public func exec(_ arguments: String...) async throws -> String {
    try await run([script("ceph-private"), "exec", directory] + arguments)
  }

  private static let watchdog = """
    trap '' HUP INT TERM
    read -r _
    if [ -d "$1" ]; then "$0" stop "$1"; rm -rf "$1"; fi
    """

  /// Returns the pipe's writing end.
  private static func startWatchdog(_ directory: String) throws -> Int32 {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { throw CommandFailure(command: "pipe", status: errno, output: "") }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    defer { close(ends[0]) }
    _ = try spawn(["setsid", "bash", "-c", watchdog, script("ceph-private"), directory], input: ends[0])
    return ends[1]
  }
}
