import CPostgres
import Execution
import Glibc

/// One connection to the server, used by one thread.
///
/// Invariants:
/// - libpq is in non-blocking pipeline mode whenever no call of this class is running, with no result left unread.
/// - Every wait is in one place (``wait(for:)``): it sees input, the wake-up that a cancellation sends, and silence.
/// - A request to cancel is only made while a statement of the cancelled job is being waited for, and the job does not end
///   before the request has. So a cancellation never hits the job that comes after.
/// - Once `isBroken` is set the connection is good for nothing but ``close()``.
final class Connection {
  let handle: OpaquePointer
  let configuration: DatabaseConfiguration
  let wakeup: Wakeup
  var isBroken = false
  var statements: StatementCache
  /// Belongs to the job that uses the connection now.
  var cancellation: CancellationFlag?
  /// How long to wait for a sign of the server; nil is for ever.
  var silenceLimit: Duration?
  /// The request to cancel what the job runs, under way or done.
  private var cancelRequest: CancelRequest?
  /// Since when the job's cancellation has been waited for.
  private var cancellingSince: ContinuousClock.Instant?
  private lazy var cancelThread = DedicatedThread(name: "pg-cancel")
  var interruptible = true
  /// Parameter values of the statement being sent, each followed by NUL; kept for its capacity.
  var parameterBytes: [UInt8] = []
  var lastUse = ContinuousClock.now

  init(handle: OpaquePointer, configuration: DatabaseConfiguration, wakeup: Wakeup) {
    self.handle = handle
    self.configuration = configuration
    self.wakeup = wakeup
    statements = StatementCache(capacity: configuration.preparedStatements)
    silenceLimit = configuration.statementTimeout + configuration.silenceGrace
  }

  deinit { PQfinish(handle) }

  var isIdle: Bool { !isBroken && PQtransactionStatus(handle) == PQTRANS_IDLE }
  var isInFailedTransaction: Bool { PQtransactionStatus(handle) == PQTRANS_INERROR }
  var isInTransaction: Bool { PQtransactionStatus(handle) == PQTRANS_INTRANS }

  /// Whether an idle connection can still be used: a server that went away has closed its end, which shows as input.
  func isAlive() -> Bool {
    guard !isBroken, PQstatus(handle) == CONNECTION_OK else { return false }
    let idle = ContinuousClock.now - lastUse
    // Under load the look at the socket would cost more than it finds.
    if idle < .milliseconds(2) { return true }
    var entry = pollfd(fd: PQsocket(handle), events: Int16(POLLIN), revents: 0)
    if poll(&entry, 1, 0) > 0 {
      guard PQconsumeInput(handle) == 1, PQstatus(handle) == CONNECTION_OK else { return broken() }
      // The server's last words ("terminating connection …") are parsed as a notice; the end of file follows at once.
      entry.revents = 0
      if poll(&entry, 1, 0) > 0, PQconsumeInput(handle) != 1 || PQstatus(handle) != CONNECTION_OK { return broken() }
    }
    if idle > configuration.idleCheckAfter {
      // Somebody waits for a connection: a new one is quicker than a server that has vanished.
      let patience = silenceLimit
      (interruptible, silenceLimit) = (false, .seconds(1))
      defer { (interruptible, silenceLimit) = (true, patience) }
      guard let answer = try? roundTrip(["SELECT 1"]), answer.failure == nil else { return broken() }
    }
    return true
  }

  private func broken() -> Bool {
    isBroken = true
    return false
  }

  /// Refuses when the connection is broken or the caller's task was cancelled.
  func checkUsable() throws(PostgresError) {
    if isBroken { throw PostgresError(.connectionLost, "the connection was lost before") }
    if interruptible, cancellation?.isSet == true { throw PostgresError(.cancelled, "the task was cancelled") }
  }

  /// The connection is lost: marks it and gives the error to throw.
  func lost(_ result: QueryResult? = nil) -> PostgresError {
    isBroken = true
    let words = PQerrorMessage(handle).map { String(cString: $0).trimmedLine } ?? ""
    if let error = result?.error { return error.with(kind: .connectionLost, error.message) }
    return PostgresError(.connectionLost, words.isEmpty ? "the connection was lost" : words)
  }

  /// Writes out what libpq has queued, reading meanwhile: a server that waits to be read does not read.
  func flush() throws(PostgresError) {
    while true {
      switch PQflush(handle) {
      case 0: return
      case 1: try wait(for: POLLIN | POLLOUT)
      default: throw lost()
      }
    }
  }

  /// The next result, or nil where libpq says that a statement's results end.
  func nextResult() throws(PostgresError) -> QueryResult? {
    while PQisBusy(handle) == 1 { try wait(for: POLLIN) }
    return PQgetResult(handle).map(QueryResult.init)
  }

  /// Waits until the socket is ready (and reads what came). Cancels the server's work when the job is cancelled.
  func wait(for events: Int32) throws(PostgresError) {
    while true {
      let cancelling = interruptible && cancellation?.isSet == true
      if cancelling { try requestCancel() }
      var entries = [
        pollfd(fd: PQsocket(handle), events: Int16(events), revents: 0),
        pollfd(fd: wakeup.descriptor, events: Int16(POLLIN), revents: 0),
      ]
      let timeout = cancelling ? 100 : silenceLimit?.pollMilliseconds ?? -1
      let ready = poll(&entries, 2, timeout)
      if ready < 0 && errno != EINTR { throw lost() }
      if ready == 0 && !cancelling {
        isBroken = true
        throw PostgresError(.connectionLost, "the server did not answer within \(silenceLimit ?? .zero)")
      }
      if entries[1].revents != 0 { wakeup.drain() }
      if entries[0].revents != 0 {
        // A failed read shows in the result that follows: libpq keeps what came before it.
        if entries[0].revents & ~Int16(POLLOUT) != 0 { PQconsumeInput(handle) }
        return
      }
    }
  }

  /// How long the server may take to heed a cancellation before it is given up.
  private static let cancelPatience = Duration.seconds(2)

  /// The request may arrive before the statement does, and is then void: hence it is repeated until there is an answer.
  private func requestCancel() throws(PostgresError) {
    let now = ContinuousClock.now
    let since = cancellingSince ?? now
    cancellingSince = since
    guard now - since < Self.cancelPatience else {
      isBroken = true
      throw PostgresError(.cancelled, "the task was cancelled, and the server did not answer")
    }
    if let cancelRequest, !cancelRequest.isDone || now - cancelRequest.begun < .milliseconds(100) { return }
    cancelRequest = CancelRequest(for: handle)
    cancelRequest?.send(on: cancelThread, wakeup: wakeup)
  }

  /// Ends the job's cancelling: waits for a request that is under way, since it would hit what is sent next.
  func settleCancelling() {
    defer { (cancelRequest, cancellingSince) = (nil, nil) }
    guard let cancelRequest, !isBroken else { return }
    let deadline = ContinuousClock.now + Self.cancelPatience
    while !cancelRequest.isDone {
      let left = deadline - .now
      guard left > .zero else {
        isBroken = true
        return
      }
      wakeup.sleep(left)
    }
  }
}
