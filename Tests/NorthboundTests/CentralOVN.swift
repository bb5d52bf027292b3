import Execution
import Foundation
import Glibc
import OVSDB
import OVSDBTestSupport
import TestSupport

@testable import Northbound

/// OVN without nodes: both databases, and `ovn-northd` between them. Gone when the test process is gone.
final class CentralOVN: Sendable {
  static let isInstalled = FileManager.default.isReadableFile(atPath: "/usr/share/ovn/ovn-sb.ovsschema")

  let northbound: NorthboundDatabase
  private let southbound: OVSDBServer
  /// Its end ends northd.
  private let pipe: Int32

  init() async throws {
    northbound = try await NorthboundDatabase()
    southbound = try await OVSDBServer(
      schema: try String(contentsOfFile: "/usr/share/ovn/ovn-sb.ovsschema", encoding: .utf8))
    var ends: [Int32] = [-1, -1]
    guard Glibc.pipe(&ends) == 0 else { throw OVSDBServer.Failure(what: "pipe") }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    defer { close(ends[0]) }
    pipe = ends[1]
    let script = """
      trap '' INT HUP
      "$@" </dev/null &
      read -r word
      kill -KILL $! 2>/dev/null
      """
    let directory = southbound.directory
    _ = try spawn(
      [
        "env", "OVN_RUNDIR=\(directory)", "OVS_RUNDIR=\(directory)", "setsid", "sh", "-c", script, "watchdog",
        "ovn-northd", "--ovnnb-db=\(northbound.server.remote)", "--ovnsb-db=\(southbound.remote)", "--no-chdir",
        "--unixctl=\(directory)/northd.ctl", "-vconsole:off", "-vsyslog:off", "--log-file=\(directory)/northd.log",
      ], input: ends[0])
  }

  deinit { close(pipe) }

  /// Waits until northd has taken over what is in the northbound database.
  func sync() async throws {
    try await run("ovn-nbctl", "--db=\(northbound.server.remote)", "--wait=sb", "--timeout=60", "sync")
  }

  /// What northd has complained about, but for nodes that ports name: here are none.
  func complaints() throws -> [String] {
    try String(contentsOfFile: southbound.directory + "/northd.log", encoding: .utf8)
      .split(separator: "\n").map(String.init).filter { $0.contains("|WARN|") || $0.contains("|ERR|") }
      .filter { !$0.contains("Unknown chassis") }
  }

  /// The logical flows as text.
  func flows() async throws -> String {
    try await run("ovn-sbctl", "--db=\(southbound.remote)", "lflow-list")
  }

  /// Columns of a southbound table as comma-separated values.
  func southboundRows(_ table: String, _ columns: String) async throws -> String {
    try await run(
      "ovn-sbctl", "--db=\(southbound.remote)", "--format=csv", "--data=bare", "--no-headings", "--columns=\(columns)",
      "list", table)
  }

  /// Where a packet ends that comes from a port: the ports that it is put out of. Fails when a flow cannot be read.
  func trace(_ datapath: String, _ packet: String, _ options: String...) async throws -> Trace {
    try await trace(datapath, packet, options: options)
  }

  func trace(_ datapath: String, _ packet: String, options: [String]) async throws -> Trace {
    let log = southbound.directory + "/trace-\(UUID().uuidString).log"
    let output = try await run(
      ["ovn-trace", "--db=\(southbound.remote)", "--log-file=\(log)", "-vconsole:off", "--minimal"] + options
        + [datapath, packet])
    let complaints = try String(contentsOfFile: log, encoding: .utf8).split(separator: "\n")
      .filter { $0.contains("|WARN|") || $0.contains("|ERR|") }
    return Trace(output: output, complaints: complaints.map(String.init))
  }

  struct Trace {
    let output: String
    let complaints: [String]

    /// Whether the packet leaves by these ports, and no others.
    func leaves(by ports: String...) -> Bool { outputs == Set(ports.map(Self.shortened)) }

    /// Whether the packet leaves by this port, among others.
    func reaches(_ port: String) -> Bool { outputs.contains(Self.shortened(port)) }

    /// Of a UUID at the end of a name OVN's tools show six digits.
    private static func shortened(_ port: String) -> String { String(port.dropLast(30)) }

    private var outputs: Set<String> {
      Set(
        output.split(separator: "\n").compactMap { line in
          line.contains("output(\"") ? line.split(separator: "\"").dropFirst().first.map(String.init) : nil
        })
    }
  }
}
