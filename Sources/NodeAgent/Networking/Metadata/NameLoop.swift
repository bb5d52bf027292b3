import CLinux
import Execution
import Glibc
import IPAddressing

/// The thread that reads the sockets of a ``NameServer`` and answers.
///
/// Sockets belong to the thread from ``open(_:_:)`` on: only there they are read, written and closed.
final class NameLoop: Sendable {
  private enum Command {
    case open(Int32, NameDomain)
    case close([Int32], CheckedContinuation<Void, Never>)
    case stop
  }

  /// What is behind a socket.
  private struct Door {
    let domain: NameDomain
    var rate = AnswerRate()
  }

  /// Longer than any query has reason to be (RFC 1035, 4.2.1; with EDNS as resolvers use it).
  private static let longestQuery = 1_232
  /// How many queries of one socket are read before the others' turn comes.
  private static let turn = 32

  private let epoll: Int32
  private let wakeup: Wakeup
  private let clock: any AgentClock
  /// Nil after ``stop()``.
  private let commands = Lock<[Command]?>([])

  init(clock: any AgentClock) throws(AgentFailure) {
    self.clock = clock
    do { wakeup = try Wakeup() } catch { throw AgentFailure(.storage, "making a socket pair: errno \(error.errno)") }
    epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
    guard epoll >= 0 else { throw FileSystem.failure("making an epoll for", "the name server") }
    try watch(wakeup.descriptor)
  }

  deinit { Glibc.close(epoll) }

  func start() {
    let thread = DedicatedThread(name: "names")
    Task { await thread.run { self.run() } }
  }

  /// Ends the thread, which closes all sockets.
  func stop() { give(.stop) }

  /// Answers what comes to a socket for names of this domain. When it throws, the socket is still the caller's.
  func open(_ socket: Int32, _ domain: NameDomain) throws(AgentFailure) {
    try watch(socket)
    // What comes before the thread knows the socket waits in it.
    if !give(.open(socket, domain)) { Glibc.close(socket) }
  }

  /// Closes sockets that were opened; returns when they are.
  func close(_ sockets: [Int32]) async {
    await withCheckedContinuation { continuation in
      if !give(.close(sockets, continuation)) { continuation.resume() }
    }
  }

  @discardableResult
  private func give(_ command: Command) -> Bool {
    let isTaken = commands.withLock { commands in
      commands?.append(command)
      return commands != nil
    }
    wakeup.wake()
    return isTaken
  }

  private func watch(_ descriptor: Int32) throws(AgentFailure) {
    var event = epoll_event()
    event.events = EPOLLIN.rawValue
    event.data.u64 = UInt64(descriptor)
    guard epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) == 0 else {
      throw FileSystem.failure("watching a socket of", "the name server")
    }
  }

  // MARK: On the thread

  private func run() {
    var doors: [Int32: Door] = [:]
    var events = [epoll_event](repeating: epoll_event(), count: 64)
    while carryOut(&doors) {
      let count = epoll_wait(epoll, &events, Int32(events.count), -1)
      for event in events.prefix(Int(max(0, count))) {
        let descriptor = Int32(truncatingIfNeeded: event.data.u64)
        if descriptor == wakeup.descriptor { wakeup.drain() } else { answer(descriptor, &doors[descriptor]) }
      }
    }
    for descriptor in doors.keys { Glibc.close(descriptor) }
  }

  /// Returns whether it goes on.
  private func carryOut(_ doors: inout [Int32: Door]) -> Bool {
    let taken = commands.withLock { commands in
      let taken = commands ?? []
      let isEnd = taken.contains { if case .stop = $0 { true } else { false } }
      commands = isEnd ? nil : []
      return taken
    }
    var goesOn = true
    for command in taken {
      switch command {
      case .open(let socket, let domain): doors[socket] = Door(domain: domain)
      case .close(let sockets, let continuation):
        for socket in sockets where doors.removeValue(forKey: socket) != nil { Glibc.close(socket) }
        continuation.resume()
      case .stop: goesOn = false
      }
    }
    return goesOn
  }

  private func answer(_ descriptor: Int32, _ door: inout Door?) {
    // Taken, so that there is one of it, which changes in its place.
    guard var open = door.take() else { return }
    defer { door = open }
    var query = [UInt8](repeating: 0, count: Self.longestQuery)
    let flags = Int32(MSG_DONTWAIT | MSG_NOSIGNAL)
    let now = clock.now().uptime
    for _ in 0..<Self.turn {
      var sender = sockaddr_storage()
      var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
      // With MSG_TRUNC the count is the datagram's own.
      let count = withSocketAddress(&sender) {
        recvfrom(descriptor, &query, query.count, flags | Int32(MSG_TRUNC), $0, &length)
      }
      guard count >= 0 else { break }
      let source = withUnsafeBytes(of: sender) { IPAddress(socketAddress: $0) }
      guard count <= query.count, let source, open.rate.allows(source, now: now),
        let answer = NameAnswer.answer(to: Array(query.prefix(count)), domain: open.domain)
      else { continue }
      // What cannot be sent at once is lost, as datagrams are.
      _ = withSocketAddress(&sender) { sendto(descriptor, answer, answer.count, flags, $0, length) }
    }
  }

  private func withSocketAddress<Result>(
    _ storage: inout sockaddr_storage, _ body: (UnsafeMutablePointer<sockaddr>) -> Result
  ) -> Result {
    withUnsafeMutablePointer(to: &storage) { $0.withMemoryRebound(to: sockaddr.self, capacity: 1, body) }
  }
}
