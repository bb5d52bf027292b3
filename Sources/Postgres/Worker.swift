import Execution

/// One thread and its connection.
///
/// `@unchecked Sendable`: `connection` is only touched on `thread`; everything else is constant.
final class Worker: @unchecked Sendable {
  let wakeup: Wakeup
  private let index: Int
  private let configuration: DatabaseConfiguration
  private let thread: DedicatedThread
  private var connection: Connection?

  init(index: Int, _ configuration: DatabaseConfiguration) throws(PostgresError) {
    self.index = index
    self.configuration = configuration
    wakeup = try Wakeup.forConnection()
    thread = DedicatedThread(name: "pg-\(index)")
  }

  /// Starts on `job`, and goes on with what the pool gives next. Detached: the jobs that follow must not run with the
  /// task-local values of the first one's caller.
  func start(_ job: Job, in pool: Pool) {
    Task.detached(executorPreference: thread) { self.serve(job, pool) }
  }

  private func serve(_ first: Job, _ pool: Pool) {
    var job = first
    while true {
      let tellCaller = serve(job, on: connect(for: job, pool))
      let next = pool.finished(index, connected: connection != nil)
      tellCaller()
      guard let next else { return }
      job = next
    }
  }

  private func serve(_ job: Job, on connection: Result<Connection, PostgresError>) -> @Sendable () -> Void {
    switch connection {
    case .failure(let error): return { job.refuse(error) }
    case .success(let connection):
      connection.cancellation = job.cancellation
      let tellCaller = job.perform(connection)
      connection.reset()
      if connection.isBroken { self.connection = nil }
      return tellCaller
    }
  }

  /// The connection, if it lives; else a new one, tried for until the job's deadline.
  private func connect(for job: Job, _ pool: Pool) -> Result<Connection, PostgresError> {
    if let connection, connection.isAlive() { return .success(connection) }
    connection = nil
    var attempt = 0
    while true {
      do throws(PostgresError) {
        let fresh = try Connection.open(
          configuration, wakeup: wakeup, cancellation: job.cancellation, deadline: job.deadline)
        pool.note(connectFailure: nil)
        connection = fresh
        return .success(fresh)
      } catch {
        if error.kind == .cancelled { return .failure(error) }
        pool.note(connectFailure: error)
        attempt += 1
        let delay = configuration.reconnectBackoff.delay(attempt: attempt)
        if ContinuousClock.now + delay >= job.deadline { return .failure(error) }
        wakeup.sleep(delay)
        if job.cancellation.isSet { return .failure(PostgresError(.cancelled, "the task was cancelled")) }
        if pool.isShutDown { return .failure(PostgresError(.shutDown, "the database was shut down")) }
      }
    }
  }

  func close() async {
    await thread.run { self.connection = nil }
  }
}
