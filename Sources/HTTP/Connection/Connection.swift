import CLinux
import Glibc
import HTTPTypes
import Logging

/// One client connection: applies the parsers to what the socket yields, and puts answers on the wire in order.
///
/// An actor whose executor is its event loop. The loop calls ``ready(_:)`` and ``deadlineReached()``; handlers reach it
/// by `await`. Every entry from outside ends in ``settle()``, which brings socket, epoll interest and deadline in line
/// with the state; nothing else does.
///
/// Whoever has to wait looks at the state in the closure that stores its continuation, not before: the runtime may take the
/// task off its executor and back on the way there (it does when the task prefers another one), and what it waits for may
/// have come meanwhile.
actor Connection {
  enum Phase { case handshake, requests, webSocket, lingering, closed }

  struct Writer {
    let ticket: UInt64
    let continuation: CheckedContinuation<Result<Void, StreamError>, Never>
  }

  /// What one connection may read or send before its loop looks at the others.
  static let roundsPerTurn = 16
  private static let bytesPerTurn = 1 << 20

  nonisolated let loop: EventLoop
  nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }
  nonisolated let service: Service
  private let admissionKey: Admission.Key
  var transport: Transport
  var peer: Peer
  var phase: Phase
  /// Bytes that could not be taken yet: the beginning of a head, or requests sent ahead.
  var input: [UInt8] = []
  var output = OutputQueue()
  var parser: HeadParser
  var exchange: Exchange?
  var lastExchange: UInt64 = 0
  var writers: [Writer] = []
  var webSocket: WebSocketSession?
  /// Nothing is read or answered any more; the connection ends when the output is sent.
  var closesAfterOutput = false
  /// The client may still be sending: let it see the answer before the socket goes.
  var lingers = false
  var lingerBudget = 1 << 20
  /// The client will send nothing more.
  var peerEnded = false
  var hangupNoted = false
  /// The loop was asked to come back to what TLS holds.
  var goesOnLater = false

  var headDeadline: Int64
  var bodyDeadline = Int64.max
  private var writeDeadline = Int64.max
  /// What the client's kernel had still to acknowledge when `writeDeadline` was set.
  private var unacknowledged = 0
  var phaseDeadline: Int64
  private var armedDeadline = Int64.max
  private var interest: UInt32 = 0
  private var token: SlotTable.Token?

  var limits: Limits { service.limits }
  var times: LimitTimes { service.times }

  init(transport: Transport, peer: Peer, admissionKey: Admission.Key, service: Service, loop: EventLoop) {
    self.transport = transport
    self.peer = peer
    self.admissionKey = admissionKey
    self.service = service
    self.loop = loop
    phase = transport.isTLS ? .handshake : .requests
    parser = HeadParser(limits: service.headLimits)
    headDeadline = .max
    phaseDeadline = .max
  }

  // MARK: Entries from the loop

  func start() {
    headDeadline = loop.now + times.header
    phaseDeadline = loop.now + times.handshake
    interest = EPOLLIN.rawValue | EPOLLRDHUP.rawValue
    token = loop.register(transport.socket, .connection(self), events: interest)
    if token == nil { close() } else { settle() }
  }

  func ready(_ events: UInt32) {
    guard phase != .closed else { return }
    if events & (EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0 {
      close()
      return
    }
    if phase == .handshake { continueHandshake() }
    if phase != .handshake { readInput() }
    if events & EPOLLRDHUP.rawValue != 0, !peerEnded, !wantsInput { notePeerHangup() }
    settle()
  }

  func deadlineReached() {
    armedDeadline = .max
    let now = loop.now
    switch phase {
    case .closed: return
    case .handshake, .lingering:
      if phaseDeadline <= now {
        if phase == .handshake { loop.counters.timeouts.add(1, ordering: .relaxed) }
        close()
      }
    case .requests, .webSocket:
      if writeDeadline <= now, !clientAcknowledges() {
        loop.counters.timeouts.add(1, ordering: .relaxed)
        close()
      } else if phase == .webSocket {
        webSocketDeadlineReached()
      } else {
        requestDeadlineReached()
      }
    }
    settle()
  }

  private func continueHandshake() {
    switch transport.handshake() {
    case .wouldBlock: break
    case .failed:
      loop.counters.handshakeFailures.add(1, ordering: .relaxed)
      service.logger.debug(
        "TLS handshake failed", metadata: ["peer": "\(peer.address)", "reason": "\(TLSContext.reason())"])
      close()
    case .done:
      peer.certificate = transport.verifiedPeerCertificate
      phase = .requests
      headDeadline = loop.now + (service.isDraining ? min(times.header, times.linger) : times.header)
    }
  }

  // MARK: Writing

  /// Lets `write` append to the output, in memory that is used again.
  func emit(_ write: (inout [UInt8]) -> Void) {
    if output.needsBuffer { output.lend(loop.takeBuffer()) }
    output.append(write)
  }

  private func flush() {
    var progress = false
    var budget = Self.bytesPerTurn
    // What is left when the budget is spent waits for the loop's next turn: the socket is announced as writable again.
    sending: while !output.isEmpty, budget > 0 {
      switch output.withNext({ transport.write($0, $1) }) {
      case .written(let count):
        loop.counters.sent.add(count, ordering: .relaxed)
        output.consume(count)
        budget -= count
        progress = true
      case .wouldBlock: break sending
      case .failed:
        close()
        return
      }
    }
    if output.isEmpty {
      writeDeadline = .max
      // Between requests the client's time begins when it has the answer, not when the answer was made.
      if progress, exchange == nil, lastExchange > 0 {
        headDeadline = loop.now + (parser.isIdle ? times.keepAliveIdle : times.header)
      }
      var buffer = output.reclaim()
      loop.giveBack(&buffer)
    } else if progress || writeDeadline == .max {
      writeDeadline = loop.now + times.writeIdle
      unacknowledged = transport.unacknowledgedBytes
    }
    if output.count < limits.outputBuffer { resumeWriters(.success(())) }
  }

  /// Whether the client took bytes since `writeDeadline` was set, although not enough for the kernel to take more. Then it
  /// gets more time.
  private func clientAcknowledges() -> Bool {
    let now = transport.unacknowledgedBytes
    guard now < unacknowledged else { return false }
    unacknowledged = now
    writeDeadline = loop.now + times.writeIdle
    return true
  }

  func resumeWriters(_ result: Result<Void, StreamError>) {
    guard !writers.isEmpty else { return }
    let woken = writers
    writers = []
    for writer in woken { writer.continuation.resume(returning: result) }
  }

  // MARK: Coming to rest

  /// Sends what can be sent, takes what can be taken, and tells the loop what to wait for.
  func settle() {
    guard phase != .closed, token != nil else { return }
    while phase != .closed {
      flush()
      if phase == .closed { return }
      if closesAfterOutput, output.isEmpty, phase != .lingering {
        endOutput()
        continue
      }
      if !input.isEmpty, canProcessInput, processInput() { continue }
      // TLS may hold half a record, of which nothing can be read yet: go on only when something came.
      if phase != .handshake, wantsInput, !goesOnLater, transport.holdsInput, readInput() { continue }
      break
    }
    updateInterest()
    updateDeadline()
  }

  private var canProcessInput: Bool {
    switch phase {
    case .handshake, .lingering, .closed: false
    case .webSocket: webSocketWantsInput
    case .requests: exchange?.decoder.isComplete != true && wantsInput
    }
  }

  /// All is sent: close, or first let the client read it.
  private func endOutput() {
    input = []
    guard lingers, !peerEnded else {
      close()
      return
    }
    transport.shutdownOutput()
    phase = .lingering
    phaseDeadline = loop.now + times.linger
  }

  private func updateInterest() {
    guard phase != .closed, let token else { return }
    var wanted: UInt32 = 0
    if !peerEnded {
      if wantsInput || transport.writeNeedsRead { wanted |= EPOLLIN.rawValue }
      if !hangupNoted || wantsInput { wanted |= EPOLLRDHUP.rawValue }
    }
    if !output.isEmpty && !transport.writeNeedsRead || transport.readNeedsWrite { wanted |= EPOLLOUT.rawValue }
    if wanted != interest {
      interest = wanted
      loop.modify(transport.socket, token, events: wanted)
    }
  }

  private func updateDeadline() {
    guard let token else { return }
    var deadline = output.isEmpty ? Int64.max : writeDeadline
    switch phase {
    case .handshake, .lingering: deadline = phaseDeadline
    case .webSocket:
      noteHearing()
      deadline = min(deadline, webSocketDeadline)
    case .closed: return
    case .requests:
      if let exchange {
        if exchange.clientOwesBody, wantsInput { deadline = min(deadline, bodyDeadline, exchange.bodyEnd) }
      } else if output.isEmpty {
        deadline = min(deadline, headDeadline)
      }
    }
    if deadline != armedDeadline {
      armedDeadline = deadline
      loop.setDeadline(deadline, for: token)
    }
  }

  // MARK: The end

  /// Ends the connection at once. Whoever waits for it is told.
  func close(politely: Bool = true) {
    guard phase != .closed else { return }
    phase = .closed
    if let token { loop.deregister(transport.socket, token) }
    token = nil
    transport.close(politely: politely)
    service.admission.leave(admissionKey)
    loop.counters.open.subtract(1, ordering: .relaxed)
    failBody(.incomplete)
    endWebSocketWaiters(.failure(.closed))
    resumeWriters(.failure(.closed))
    exchange?.task?.cancel()
    exchange = nil
    input = []
    output.removeAll()
  }
}
