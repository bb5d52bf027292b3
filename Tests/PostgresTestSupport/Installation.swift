import Glibc

/// Where PostgreSQL's programs are, and as whom they run: the server refuses to run as root.
struct Installation: Sendable {
  let programs: String
  /// What has to stand before a command so that it does not run as root.
  let prefix: [String]

  /// `pg_config --bindir`, else the newest of Debian's directories.
  static func find() throws(ServerFailure) -> Installation {
    var candidates: [String] = []
    if let answer = ChildProcess.output(of: ["pg_config", "--bindir"]) { candidates.append(answer) }
    candidates += (10...30).reversed().map { "/usr/lib/postgresql/\($0)/bin" }
    candidates += ["/usr/local/pgsql/bin", "/opt/homebrew/bin", "/usr/local/bin"]
    guard let programs = candidates.first(where: { access($0 + "/initdb", X_OK) == 0 }) else {
      throw ServerFailure("PostgreSQL's initdb is not found; install the package postgresql")
    }
    guard getuid() == 0 else { return Installation(programs: programs, prefix: []) }
    guard getpwnam("postgres") != nil else { throw ServerFailure("root needs a user postgres to run the server as") }
    return Installation(
      programs: programs,
      prefix: ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"])
  }

  /// A fresh directory for one server with an initialised data directory in it. The path is short: a socket's path must
  /// fit into 107 bytes.
  func makeDirectory() throws(ServerFailure) -> String {
    let template = try template()
    let directory = try run("mktemp", "-d", "/tmp/pgtest-XXXXXX")
    _ = try run("cp", "-a", template, directory + "/data")
    return directory
  }

  /// An initialised data directory to copy, one per version and user, made by the first who needs it: initdb takes
  /// seconds, a copy a tenth of one.
  private func template() throws(ServerFailure) -> String {
    guard let version = ChildProcess.output(of: [programs + "/postgres", "--version"]) else {
      throw ServerFailure("\(programs)/postgres does not run")
    }
    let name = String(version.map { $0.isLetter || $0.isNumber || $0 == "." ? $0 : "_" })
    let path = "/tmp/pgtest-template-\(getuid())-\(name)"
    // Two test processes may get here together: each makes its own, and the first to rename it into place wins.
    if access(path + "/PG_VERSION", F_OK) == 0 || access(path, F_OK) == 0 { return path }
    let own = try run("mktemp", "-d", "/tmp/pgtest-new-XXXXXX")
    _ = try run(
      programs + "/initdb", "-D", own + "/data", "-U", "postgres", "--auth=trust", "--encoding=UTF8",
      "--locale=C.UTF-8", "--no-sync", "--wal-segsize=4")
    _ = try run("sh", "-c", "mv -T '\(own)/data' '\(path)' 2>/dev/null; rm -rf '\(own)'")
    return path
  }

  private func run(_ command: String...) throws(ServerFailure) -> String {
    guard let output = ChildProcess.output(of: prefix + command) else {
      throw ServerFailure("failed: \(command.joined(separator: " "))")
    }
    return output
  }

  /// Starts the server under its watchdog.
  func launch(directory: String, options: PostgresServer.Options) throws(ServerFailure) -> ChildProcess {
    var settings = [
      "listen_addresses=", "unix_socket_directories=\(directory)", "unix_socket_permissions=0777",
      "max_connections=\(options.maxConnections)", "log_min_messages=warning",
      "lc_messages=C", "log_line_prefix=%p %d ", "deadlock_timeout=100ms",
      // What a failed statement was about is logged too: there must be no secret in it.
      "log_parameter_max_length_on_error=-1",
    ]
    // What the kernel has taken survives the server's death; only the machine's death needs fsync.
    if !options.durable { settings += ["fsync=off", "full_page_writes=off"] }
    let arguments = (settings + options.settings).flatMap { ["-c", $0] }
    // The end of standard input is the end of the test process; the word "keep" leaves the data for a restart.
    let script = """
      trap '' INT HUP
      directory=$1; shift
      : >>"$directory/log"
      [ -z "$ALOFT_TEST_LOGS" ] || ln "$directory/log" "$ALOFT_TEST_LOGS/postgres-$$.log"
      "$@" </dev/null >>"$directory/log" 2>&1 &
      server=$!
      read -r word
      kill -QUIT $server 2>/dev/null; wait $server
      [ "$word" = keep ] || rm -rf "$directory"
      """
    return try ChildProcess(
      prefix + ["sh", "-c", script, "watchdog", directory, programs + "/postgres", "-D", directory + "/data"]
        + arguments)
  }
}
