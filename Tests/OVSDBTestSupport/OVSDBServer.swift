import Execution
import Foundation
import Glibc
import OVSDB
import TestSupport

/// A private `ovsdb-server`, gone when the test process is gone: its watchdog shell reads from a pipe that only this
/// process holds open.
public final class OVSDBServer: Sendable {
  public struct Failure: Error {
    public let what: String

    public init(what: String) { self.what = what }
  }

  public let directory: String
  private let arguments: [String]
  private let watchdog = Lock<(pid: pid_t, pipe: Int32)?>(nil)

  public var remote: Remote { .unix(directory + "/db.sock") }

  /// Makes the database of `schema` and starts a server.
  public convenience init(schema: String = testSchema, arguments: [String] = []) async throws {
    let directory = try Self.makeDirectory()
    let file = directory + "/schema"
    try schema.write(toFile: file, atomically: false, encoding: .utf8)
    try await run("ovsdb-tool", "create", directory + "/db", file)
    try await self.init(directory: directory, arguments: arguments)
  }

  /// Starts a server for the file `db` in the directory.
  public init(directory: String, arguments: [String] = []) async throws {
    self.directory = directory
    self.arguments = arguments
    try await start()
  }

  deinit {
    if let (_, pipe) = watchdog.withLock({ $0 }) {
      close(pipe)
    } else {
      // It was killed for good, so nobody else removes its files.
      try? FileManager.default.removeItem(atPath: directory)
    }
  }

  public static func makeDirectory() throws -> String {
    var template = Array("/tmp/ovsdbtest-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw Failure(what: "mkdtemp") }
    return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  public func start() async throws {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { throw Failure(what: "pipe") }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    defer { close(ends[0]) }
    let script = """
      trap '' INT HUP
      directory=$1; shift
      "$@" </dev/null &
      server=$!
      echo $server >"$directory/pid.new"; mv "$directory/pid.new" "$directory/pid"
      read -r word
      kill -KILL $server 2>/dev/null; wait $server
      [ "$word" = keep ] || rm -rf "$directory"
      """
    try? FileManager.default.removeItem(atPath: directory + "/db.sock")
    let pid = try spawn(
      [
        "sh", "-c", script, "watchdog", directory, "ovsdb-server", directory + "/db",
        "--remote=punix:\(directory)/db.sock", "--unixctl=\(directory)/ctl", "--no-chdir", "-vconsole:off",
        "-vsyslog:off", "--log-file=\(directory)/log",
      ] + arguments, input: ends[0])
    watchdog.withLock { $0 = (pid, ends[1]) }
    try await eventually("the server listens") { access(directory + "/db.sock", F_OK) == 0 }
  }

  /// Kills the server; its files stay.
  public func kill() async throws {
    let (pid, pipe) = try watchdog.withLock { state in
      guard let taken = state else { throw Failure(what: "the server does not run") }
      state = nil
      return taken
    }
    _ = write(pipe, "keep\n", 5)
    close(pipe)
    await DedicatedThread(name: "reap").run { _ = reap(pid) }
  }

  /// Stops or continues the process.
  public func signal(_ signal: Int32) throws {
    let text = try String(contentsOfFile: directory + "/pid", encoding: .utf8)
    guard let pid = pid_t(text.trimmingCharacters(in: .whitespacesAndNewlines)) else { throw Failure(what: "no pid") }
    Glibc.kill(pid, signal)
  }

  public func client(_ change: (inout OVSDBConfiguration) -> Void = { _ in }) throws -> OVSDBClient {
    var configuration = OVSDBConfiguration(database: "Test", remotes: [remote])
    change(&configuration)
    return try OVSDBClient(configuration, logger: TestLogs.logger("ovsdb"))
  }
}

/// A port of the loopback that is free now.
public func freePort() throws -> UInt16 {
  let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
  defer { close(descriptor) }
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
  var size = socklen_t(MemoryLayout<sockaddr_in>.size)
  let code = withUnsafeMutablePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      bind(descriptor, $0, size) + getsockname(descriptor, $0, &size)
    }
  }
  guard code == 0 else { throw OVSDBServer.Failure(what: "no free port") }
  return UInt16(bigEndian: address.sin_port)
}

public let testSchema = """
  {"name": "Test", "version": "1.0.0", "tables": {
    "Item": {"isRoot": true, "indexes": [["name"]], "columns": {
      "name": {"type": "string"},
      "number": {"type": "integer"},
      "ratio": {"type": "real"},
      "flag": {"type": "boolean"},
      "weight": {"type": {"key": "integer", "min": 0, "max": 1}},
      "tags": {"type": {"key": "string", "min": 0, "max": "unlimited"}},
      "options": {"type": {"key": "string", "value": "string", "min": 0, "max": "unlimited"}},
      "parts": {"type": {"key": {"type": "uuid", "refTable": "Part"}, "min": 0, "max": "unlimited"}}}},
    "Part": {"columns": {"name": {"type": "string"}}}}}
  """
