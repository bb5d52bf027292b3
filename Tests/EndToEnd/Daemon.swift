import Foundation
import Glibc
import LibvirtTestSupport
import TestSupport

/// One of Aloft's programs, run as its own process from this build.
///
/// It ends with ``kill9()`` or ``stop()``, or when the test process dies, however it dies: a shell waits for the end of a pipe
/// that only this process holds open.
final class Daemon: Sendable {
  let pid: Int32
  private let watchdogPipe: Int32

  /// The folder with the programs of this build.
  static var programs: String { builtPrograms }

  private static let watchdog = """
    trap '' HUP INT TERM
    pidfile=$1; shift
    "$@" </dev/null & child=$!
    echo $child >"$pidfile.new" && mv "$pidfile.new" "$pidfile"
    read -r _
    kill -9 $child 2>/dev/null
    wait $child
    """

  /// Starts a program; what it logs is appended to `log`.
  init(_ program: String, _ arguments: [String], environment: [String: String], folder: String, log: String)
    async throws
  {
    let pidFile = folder + "/\(program)-\(UUID().uuidString.prefix(8)).pid"
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { throw NoProcess(program: program) }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    defer { close(ends[0]) }
    TestLogs.keep(log)
    var environment = environment
    if TestLogs.areKept {
      for variable in ["ALOFT_LOG_LEVEL", "ALOFT_AGENT_LOG_LEVEL"] { environment[variable] = "trace" }
    }
    let settings = environment.map { "\($0.key)=\($0.value)" }
    _ = try spawn(
      ["setsid", "bash", "-c", Self.watchdog, "watchdog", pidFile, "env"] + settings + ["\(Self.programs)/\(program)"]
        + arguments, input: ends[0], output: .file(log), error: .file(log))
    watchdogPipe = ends[1]
    try await eventually("\(program) has a pid") { FileManager.default.fileExists(atPath: pidFile) }
    let text = try String(contentsOfFile: pidFile, encoding: .utf8).trimmingCharacters(in: .whitespacesAndNewlines)
    guard let pid = Int32(text) else { throw NoProcess(program: program) }
    self.pid = pid
  }

  /// Ends it as a crash would.
  func kill9() async throws {
    kill(pid, SIGKILL)
    try await gone()
  }

  /// Asks it to end.
  func stop() async throws {
    kill(pid, SIGTERM)
    try await gone()
  }

  private func gone() async throws {
    let pid = pid
    try await eventually("process \(pid) ends", within: .seconds(30)) { !processRuns(pid) }
    close(watchdogPipe)
  }
}

/// A program that could not be started.
struct NoProcess: Error {
  let program: String
}

/// A TCP port of the loopback that nobody uses now.
func freePort() -> Int {
  let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
  defer { close(descriptor) }
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
  var length = socklen_t(MemoryLayout<sockaddr_in>.size)
  withUnsafeMutablePointer(to: &address) { pointer in
    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
      _ = bind(descriptor, generic, length)
      _ = getsockname(descriptor, generic, &length)
    }
  }
  return Int(UInt16(bigEndian: address.sin_port))
}
