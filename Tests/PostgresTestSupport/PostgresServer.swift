import CPostgres
import Execution
import Glibc
import TestSupport

/// A private PostgreSQL server for tests: own data directory, Unix socket only, gone when the test process is gone.
///
/// Invariants:
/// - The server is a child of a watchdog shell whose standard input is a socket that only this process holds. However this
///   process ends, the shell reads the end of file, stops the server by its process id and removes the directory.
/// - Several servers can run side by side; nothing is shared but a template of an empty data directory.
public final class PostgresServer: Sendable {
  /// How a server is run.
  public struct Options: Sendable {
    /// Off makes writes fast and is right for all tests but measurements.
    public var durable = false
    public var maxConnections = 200
    /// Further settings, `name=value`.
    public var settings: [String] = []

    public init(durable: Bool = false, maxConnections: Int = 200, settings: [String] = []) {
      self.durable = durable
      self.maxConnections = maxConnections
      self.settings = settings
    }
  }

  private struct State {
    var watchdog: ChildProcess?
    var databases = 0
  }

  /// Holds the data directory and the socket.
  public let directory: String
  private let installation: Installation
  private let options: Options
  private let thread = DedicatedThread(name: "pg-server")
  private let state = Lock(State())

  private init(directory: String, installation: Installation, options: Options) {
    self.directory = directory
    self.installation = installation
    self.options = options
  }

  private static let sharedServer = Task { try await start() }

  /// The server that all tests of this process share; started by the first that asks.
  public static var shared: PostgresServer {
    get async throws { try await sharedServer.value }
  }

  /// Makes a data directory and starts a server on it.
  public static func start(_ options: Options = Options()) async throws -> PostgresServer {
    let thread = DedicatedThread(name: "pg-initdb")
    let server = try await thread.run { () throws(ServerFailure) in
      let installation = try Installation.find()
      let directory = try installation.makeDirectory()
      return PostgresServer(directory: directory, installation: installation, options: options)
    }
    try await server.launch()
    return server
  }

  /// Makes an empty database (or a copy of `template`, to which nobody may be connected) and gives its URL.
  public func createDatabase(template: String? = nil) async throws -> String {
    let number = state.withLock { state in
      state.databases += 1
      return state.databases
    }
    let name = "test_\(getpid())_\(number)"
    let clause = template.map { " TEMPLATE \"\($0)\"" } ?? ""
    try await administer("CREATE DATABASE \"\(name)\"\(clause)")
    return url(database: name)
  }

  /// The URL of a database of this server.
  public func url(database: String, user: String = "postgres") -> String {
    "postgresql:///\(database)?host=\(directory)&user=\(user)"
  }

  /// Runs one statement as the superuser in the database `postgres`.
  public func administer(_ sql: String) async throws {
    let url = url(database: "postgres")
    try await thread.run { () throws(ServerFailure) in
      let connection = PQconnectdb(url)
      defer { PQfinish(connection) }
      let result = PQexec(connection, sql)
      defer { PQclear(result) }
      guard PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK else {
        throw ServerFailure(PQerrorMessage(connection).map { String(cString: $0) } ?? sql)
      }
    }
  }

  /// Kills the server and all its processes at once, as a power cut would. ``restart()`` brings it back.
  public func kill9() async throws {
    guard let server = processID else { return }
    let children = childProcesses(of: server)
    kill(server, SIGKILL)
    for child in children { kill(child, SIGKILL) }
    try await eventually("the server's processes end") {
      ([server] + children).allSatisfy { !processRuns($0) }
    }
    await abandonWatchdog()
  }

  /// Stops the server if it runs (fast shutdown: sessions are ended) and starts it on the same data.
  public func restart() async throws {
    if let server = processID {
      kill(server, SIGINT)
      try await eventually("the server stops", within: .seconds(60)) { !processRuns(server) }
      await abandonWatchdog()
    }
    try await launch()
  }

  /// Stops the server and removes its directory.
  public func stop() async {
    let watchdog = state.withLock { state in
      defer { state.watchdog = nil }
      return state.watchdog
    }
    await thread.run { watchdog?.finish() }
  }

  /// The postmaster's process id, while it runs.
  public var processID: pid_t? {
    guard let number = firstLine(ofFile: directory + "/data/postmaster.pid").flatMap({ pid_t($0) }), processRuns(number)
    else { return nil }
    return number
  }

  /// Ends the shell of a server that is dead, without letting it remove the directory.
  private func abandonWatchdog() async {
    let watchdog = state.withLock { state in
      defer { state.watchdog = nil }
      return state.watchdog
    }
    await thread.run { watchdog?.finish(saying: "keep\n") }
  }

  private func launch() async throws {
    let watchdog = try await thread.run { () throws(ServerFailure) in
      try self.installation.launch(directory: self.directory, options: self.options)
    }
    state.withLock { $0.watchdog = watchdog }
    let url = url(database: "postgres")
    try await eventually("PostgreSQL accepts connections", within: .seconds(60)) {
      await self.thread.run { PQping(url) == PQPING_OK }
    }
  }
}

/// What kept a test server from running.
public struct ServerFailure: Error, CustomStringConvertible {
  public let description: String

  init(_ description: String) { self.description = description }
}
