import Execution
import Logging

/// What a caller wants done on a connection.
///
/// `@unchecked Sendable`: the closures are set by the caller before the job is submitted; the pool's lock lies between that
/// and all who read them.
final class Job: @unchecked Sendable {
  let cancellation = CancellationFlag()
  /// Until when to wait for a connection.
  let deadline: ContinuousClock.Instant
  /// Does the work, on the worker's thread; gives what tells the caller, to be called once the worker is free again.
  fileprivate(set) var perform: @Sendable (Connection) -> @Sendable () -> Void = { _ in {} }
  fileprivate(set) var refuse: @Sendable (PostgresError) -> Void = { _ in }

  init(deadline: ContinuousClock.Instant) { self.deadline = deadline }
}

/// Hands jobs to workers. A worker that finishes takes the next job at once, on its own thread: a queue is served without
/// a detour through Swift's cooperative pool.
final class Pool: Sendable {
  private struct State {
    var rules: PoolState<Job>
    var connectFailure: PostgresError?
    var whenIdle: [CheckedContinuation<Void, Never>] = []
  }

  private let configuration: DatabaseConfiguration
  private let workers: [Worker]
  private let state: Lock<State>
  private let logger: Logger

  init(_ configuration: DatabaseConfiguration, logger: Logger) throws(PostgresError) {
    self.configuration = configuration
    self.logger = logger
    var workers: [Worker] = []
    for index in 0..<configuration.poolSize { workers.append(try Worker(index: index, configuration)) }
    self.workers = workers
    state = Lock(State(rules: PoolState(workers: configuration.poolSize)))
  }

  /// Runs `body` with a connection, on the connection's thread.
  func run<Value: Sendable>(
    _ body: @escaping @Sendable (Connection) -> Result<Value, any Error>
  ) async throws -> Value {
    let job = Job(deadline: .now + configuration.poolTimeout)
    return try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        job.perform = { connection in
          let result = body(connection)
          return { continuation.resume(with: result) }
        }
        job.refuse = { continuation.resume(throwing: $0) }
        submit(job)
      }
    } onCancel: {
      cancel(job)
    }
  }

  private func submit(_ job: Job) {
    let submission = state.withLock { state -> PoolState<Job>.Submission? in
      // The flag is set before the lock is taken in `cancel`, so one of the two sees the other.
      job.cancellation.isSet ? nil : state.rules.submit(job)
    }
    switch submission {
    case .start(let worker): workers[worker].start(job, in: self)
    case .wait(isFirst: true): watchDeadlines()
    case .wait(isFirst: false): break
    case .refuse: job.refuse(PostgresError(.shutDown, "the database was shut down"))
    case nil: job.refuse(PostgresError(.cancelled, "the task was cancelled"))
    }
  }

  private func cancel(_ job: Job) {
    job.cancellation.set()
    let (withdrawn, worker) = state.withLock { state in
      (state.rules.withdraw(job), state.rules.worker(running: job))
    }
    if withdrawn { job.refuse(PostgresError(.cancelled, "the task was cancelled")) }
    if let worker { workers[worker].wakeup.wake() }
  }

  /// A worker is free; gives it the next job.
  func finished(_ worker: Int, connected: Bool) -> Job? {
    let (next, idle) = state.withLock { state in
      let next = state.rules.finished(worker, connected: connected)
      guard state.rules.running.isEmpty else { return (next, [CheckedContinuation<Void, Never>]()) }
      defer { state.whenIdle = [] }
      return (next, state.whenIdle)
    }
    for continuation in idle { continuation.resume() }
    return next
  }

  /// One task at a time ends the waits that last too long. All wait equally long, so the head of the queue is first.
  private func watchDeadlines() {
    Task.detached {
      while true {
        let (expired, next, failure) = self.state.withLock { state in
          let now = ContinuousClock.now
          let (expired, next) = state.rules.expire { $0.deadline <= now }
          return (expired, next?.deadline, state.connectFailure)
        }
        for job in expired { job.refuse(self.exhausted(failure)) }
        guard let next else { return }
        try? await Task.sleep(until: next, clock: .continuous)
      }
    }
  }

  private func exhausted(_ connectFailure: PostgresError?) -> PostgresError {
    connectFailure
      ?? PostgresError(
        .poolExhausted,
        "all \(configuration.poolSize) connections stayed busy for \(configuration.poolTimeout)")
  }

  /// A worker could not connect (or could again, with nil): what callers hear who wait in vain.
  func note(connectFailure: PostgresError?) {
    let before = state.withLock { state in
      defer { state.connectFailure = connectFailure }
      return state.connectFailure
    }
    switch (before, connectFailure) {
    case (nil, .some(let failure)):
      logger.warning("no connection to PostgreSQL, trying again", metadata: ["error": "\(failure)"])
    case (.some, nil): logger.info("connected to PostgreSQL again")
    default: break
    }
  }

  var isShutDown: Bool { state.withLock { $0.rules.isShutDown } }

  /// Refuses new jobs, lets the running ones end, cancels those that take longer than `grace`, and closes the connections.
  func shutDown(grace: Duration) async {
    let waiting = state.withLock { $0.rules.shutDown() }
    for job in waiting { job.refuse(PostgresError(.shutDown, "the database was shut down")) }
    for worker in workers { worker.wakeup.wake() }
    let impatience = Task {
      try await Task.sleep(for: grace)
      for job in state.withLock({ Array($0.rules.running.values) }) { cancel(job) }
    }
    defer { impatience.cancel() }
    await withCheckedContinuation { continuation in
      let idle = state.withLock { state in
        if state.rules.running.isEmpty { return true }
        state.whenIdle.append(continuation)
        return false
      }
      if idle { continuation.resume() }
    }
    for worker in workers { await worker.close() }
  }
}
