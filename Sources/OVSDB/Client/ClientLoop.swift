import Execution
import Glibc
import JSON
import Logging

/// A client's thread: connects, sends, receives, and starts again when the connection ends. Everything in it belongs to that
/// thread; callers reach it through the `Inbox`.
final class ClientLoop {
  let configuration: OVSDBConfiguration
  let logger: Logger
  let inbox: Inbox
  private var rotation: RemoteRotation
  var session: Session?
  private var isClosing = false
  /// Why there is no connection.
  private var lastEnd = "no server was tried yet"

  /// Calls that wait for a connection that is ready, in order.
  private var queue: [Call] = []
  /// Calls that were sent.
  var sent: [Int64: Call] = [:]
  var replicas: [String: Replica] = [:]
  var locks: [String: DatabaseLock] = [:]

  init(configuration: OVSDBConfiguration, inbox: Inbox, logger: Logger) {
    self.configuration = configuration
    self.inbox = inbox
    self.logger = logger
    rotation = RemoteRotation(
      remotes: configuration.remotes, firstPause: configuration.firstPause, longestPause: configuration.longestPause)
  }

  var now: ContinuousClock.Instant { configuration.environment.now() }

  /// Runs until the client is closed.
  func run() {
    // OpenSSL writes by write(2), which answers a broken connection with this signal.
    var signals = sigset_t()
    sigemptyset(&signals)
    sigaddset(&signals, SIGPIPE)
    pthread_sigmask(SIG_BLOCK, &signals, nil)
    while !isClosing {
      let remote = rotation.current
      do throws(ConnectionEnd) {
        try serve(remote)
      } catch {
        end(error, at: remote)
      }
      if isClosing { break }
      let pause = rotation.advance(random: configuration.environment.random())
      rest(until: now + pause)
    }
    finish()
  }

  /// Connects and serves; does not return by itself.
  private func serve(_ remote: Remote) throws(ConnectionEnd) {
    let deadline = now + configuration.connectTimeout
    let transport = Transport(descriptor: try Socket.connect(to: remote))
    while try !wait(for: transport.descriptor, Int16(POLLOUT), until: deadline) { try checkConnecting(deadline) }
    try Socket.outcome(transport.descriptor)
    if case .tls = remote {
      guard let credentials = configuration.tls else { throw ConnectionEnd("there are no TLS credentials") }
      try transport.beginTLS(credentials)
      while try !transport.handshake() {
        let events = Int16(transport.needsWrite ? POLLOUT : POLLIN)
        while try !wait(for: transport.descriptor, events, until: deadline) { try checkConnecting(deadline) }
      }
    }
    session = Session(transport, remote: remote, configuration: configuration)
    greet()
    while true {
      try step(connectDeadline: deadline)
    }
  }

  private func checkConnecting(_ deadline: ContinuousClock.Instant) throws(ConnectionEnd) {
    if now >= deadline { throw ConnectionEnd("the server did not answer within \(configuration.connectTimeout)") }
  }

  /// One round: sends what there is to send, waits, reads what came.
  private func step(connectDeadline: ContinuousClock.Instant) throws(ConnectionEnd) {
    guard let session else { return }
    if session.isReady { sendQueue() } else { try checkConnecting(connectDeadline) }
    try session.flush()
    var deadline = session.probeDue
    if !session.isReady { deadline = min(deadline, connectDeadline) }
    let events = Int16(POLLIN) | (session.hasOutput ? Int16(POLLOUT) : 0)
    if try wait(for: session.transport.descriptor, events, until: session.hasMoreInput ? now : deadline)
      || session.hasMoreInput
    {
      try session.receive(now: now)
      try handleMessages()
    }
    try session.probe(now: now)
    if session.isReady, now >= session.began + configuration.probeInterval { rotation.settled() }
  }

  /// Handles commands and deadlines, and waits for the descriptor, but not longer than `until` and the next deadline of a
  /// call. False: something else was the reason to return.
  private func wait(
    for descriptor: Int32, _ events: Int16, until: ContinuousClock.Instant
  ) throws(ConnectionEnd) -> Bool {
    handleCommands()
    expire()
    if isClosing {
      try session?.flush()
      throw ConnectionEnd("the client was closed", isWanted: true)
    }
    if session?.isReady == true {
      sendQueue()
      try session?.flush()
    }
    let next = (queue.lazy.map(\.deadline).min()).map { min($0, until) } ?? until
    let wake = sent.values.lazy.map(\.deadline).min().map { min($0, next) } ?? next
    // What could not be written at once has to be waited for too.
    let wanted = events | (session?.hasOutput == true ? Int16(POLLOUT) : 0)
    var entries = [
      pollfd(fd: inbox.wakeup.descriptor, events: Int16(POLLIN), revents: 0),
      pollfd(fd: descriptor, events: wanted, revents: 0),
    ]
    let count = poll(&entries, descriptor < 0 ? 1 : 2, (wake - now).pollMilliseconds)
    if count > 0, entries[0].revents != 0 { inbox.wakeup.drain() }
    return count > 0 && entries[1].revents != 0
  }

  /// The pause between two attempts.
  private func rest(until: ContinuousClock.Instant) {
    while now < until, !isClosing {
      // Without a session there is nothing that could fail but closing, which the condition sees.
      _ = try? wait(for: -1, 0, until: until)
    }
  }

  private func handleCommands() {
    for command in inbox.take() {
      switch command {
      case .call(let call): queue.append(call)
      case .cancel(let id): cancel(id)
      case .addReplica(let replica):
        replicas[replica.identifier] = replica
        monitor(replica)
      case .removeReplica(let replica): remove(replica)
      case .addLock(let lock): add(lock)
      case .removeLock(let lock): remove(lock)
      case .close: isClosing = true
      }
    }
  }

  private func sendQueue() {
    guard let session, !queue.isEmpty else { return }
    for call in queue {
      session.send(call.bytes)
      sent[call.id] = call
    }
    queue = []
  }

  private func cancel(_ id: Int64) {
    if let index = queue.firstIndex(where: { $0.id == id }) {
      let call = queue.remove(at: index)
      call.completion(.failure(OVSDBError(.cancelled, "the task was cancelled before its \(call.method) was sent")))
    } else if let call = sent.removeValue(forKey: id) {
      session?.cancel(call)
      call.completion(.failure(unknownOutcome(of: call, "the task was cancelled")))
    }
  }

  /// Fails calls whose deadline has passed.
  private func expire() {
    let time = now
    if queue.contains(where: { $0.deadline <= time }) {
      let expired = queue.filter { $0.deadline <= time }
      queue.removeAll { $0.deadline <= time }
      for call in expired {
        call.completion(
          .failure(
            OVSDBError(.notConnected, "\(configuration.database): no server was ready in time; the last: \(lastEnd)")))
      }
    }
    for call in sent.values where call.deadline <= time {
      sent[call.id] = nil
      session?.cancel(call)
      call.completion(.failure(unknownOutcome(of: call, "its deadline passed")))
    }
  }

  private func unknownOutcome(of call: Call, _ reason: String) -> OVSDBError {
    OVSDBError(
      .outcomeUnknown,
      "\(configuration.database): the \(call.method) was sent to \(rotation.current) and not answered: \(reason)")
  }

  private func end(_ end: ConnectionEnd, at remote: Remote) {
    // A server that is not there is news once.
    let isNews = lastEnd != "\(remote): \(end)"
    lastEnd = "\(remote): \(end)"
    inbox.status = .disconnected(reason: lastEnd)
    if !end.isWanted {
      logger.log(
        level: isNews ? .info : .debug, "OVSDB connection ended",
        metadata: ["remote": "\(remote)", "database": "\(configuration.database)", "reason": "\(end)"])
    }
    session = nil
    for call in sent.values { call.completion(.failure(unknownOutcome(of: call, "\(end)"))) }
    sent = [:]
    for replica in replicas.values { replica.connectionEnded() }
    for lock in locks.values { lock.become(.disconnected) }
  }

  private func finish() {
    handleCommands()
    for call in queue {
      call.completion(.failure(OVSDBError(.closed, "the OVSDB client was closed before the \(call.method) was sent")))
    }
    queue = []
    for replica in replicas.values { replica.finish() }
    for lock in locks.values { lock.become(.released) }
  }
}
