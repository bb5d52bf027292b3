import CPostgres
import Execution
import Glibc

extension Connection {
  /// Connects and sets the session up. Waits for the server at most `connectTimeout` and not beyond `deadline`; name
  /// resolution may add to that.
  static func open(
    _ configuration: DatabaseConfiguration, wakeup: Wakeup, cancellation: CancellationFlag?,
    deadline: ContinuousClock.Instant? = nil
  ) throws(PostgresError) -> Connection {
    guard let handle = start(configuration) else { throw PostgresError(.connectFailed, "out of memory") }
    let connection = Connection(handle: handle, configuration: configuration, wakeup: wakeup)
    let limit = ContinuousClock.now + configuration.connectTimeout
    try connection.finishConnecting(cancellation, deadline: min(limit, deadline ?? limit))
    PQsetNoticeProcessor(handle, { _, _ in }, nil)
    guard PQsetnonblocking(handle, 1) == 0, PQenterPipelineMode(handle) == 1 else {
      throw connection.connectFailure()
    }
    do {
      try connection.setUp()
    } catch {
      throw error.with(kind: .connectFailed, "the session could not be set up: \(error.message)")
    }
    return connection
  }

  /// Whether libpq understands the connection string; says nothing about the server.
  static func check(url: String) throws(PostgresError) {
    var reason: UnsafeMutablePointer<CChar>?
    guard let options = PQconninfoParse(url, &reason) else {
      defer { PQfreemem(reason) }
      throw PostgresError(
        .configuration, "the connection string cannot be read; expected postgresql://… or key=value pairs")
    }
    PQconninfoFree(options)
  }

  private static func start(_ configuration: DatabaseConfiguration) -> OpaquePointer? {
    // Later keywords win, so what the URL says overrides these. The keep-alives find a dead peer within a minute.
    let options = [
      ("fallback_application_name", configuration.applicationName), ("keepalives_idle", "30"),
      ("keepalives_interval", "10"), ("keepalives_count", "3"), ("tcp_user_timeout", "30000"),
      ("dbname", configuration.url),
    ]
    var keywords = options.map { UnsafePointer(strdup($0.0)) }
    var values = options.map { UnsafePointer(strdup($0.1)) }
    defer { for pointer in keywords + values { free(UnsafeMutablePointer(mutating: pointer)) } }
    keywords.append(nil)
    values.append(nil)
    return PQconnectStartParams(&keywords, &values, 1)
  }

  private func finishConnecting(
    _ cancellation: CancellationFlag?, deadline: ContinuousClock.Instant
  ) throws(PostgresError) {
    let begun = ContinuousClock.now
    var status = PGRES_POLLING_WRITING
    while status != PGRES_POLLING_OK {
      if status == PGRES_POLLING_FAILED || PQstatus(handle) == CONNECTION_BAD { throw connectFailure() }
      if cancellation?.isSet == true { throw PostgresError(.cancelled, "the task was cancelled") }
      let left = deadline - ContinuousClock.now
      if left <= .zero {
        throw PostgresError(.connectFailed, "the server did not answer within \(ContinuousClock.now - begun)")
      }
      var entries = [
        pollfd(
          fd: PQsocket(handle), events: Int16(status == PGRES_POLLING_WRITING ? POLLOUT : POLLIN), revents: 0),
        pollfd(fd: wakeup.descriptor, events: Int16(POLLIN), revents: 0),
      ]
      if poll(&entries, 2, left.pollMilliseconds) > 0 {
        if entries[1].revents != 0 { wakeup.drain() }
        if entries[0].revents == 0 { continue }
        status = PQconnectPoll(handle)
      }
    }
  }

  private func connectFailure() -> PostgresError {
    let words = PQerrorMessage(handle).map { String(cString: $0).trimmedLine } ?? ""
    return PostgresError(.connectFailed, words)
  }

  /// ISO dates, UTC and ISO intervals are what the decoders of this module read.
  private func setUp() throws(PostgresError) {
    let settings = [
      "SET client_encoding = 'UTF8'", "SET DateStyle = 'ISO'", "SET TimeZone = 'UTC'",
      "SET IntervalStyle = 'iso_8601'", "SET bytea_output = 'hex'",
      "SET statement_timeout = \(configuration.statementTimeout.milliseconds)",
    ]
    try runScript((settings + configuration.sessionSetup).joined(separator: ";\n"))
  }
}
