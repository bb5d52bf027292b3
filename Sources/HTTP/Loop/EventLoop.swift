import CLinux
import Execution
import Glibc
import Synchronization

/// One thread and one epoll: where the sockets of its connections are read and written, and their handlers run.
///
/// Invariants:
/// - Connections and listeners are actors whose executor is their loop, so their state is reached by its thread only.
/// - Every epoll event carries slot and generation. A slot that was freed and taken again while a batch of events was
///   being worked off has another generation, so no event ever reaches the wrong connection.
/// - A handler runs between two batches of socket events, in pieces from one suspension to the next; nothing of a
///   connection is half done meanwhile.
/// - The loop sleeps exactly until the next deadline, a socket event or a submitted job: an idle server costs nothing.
///
/// Unchecked, because the compiler cannot see the split: everything below "confined" is touched by the loop's thread
/// only (or before it starts), the rest is immutable, atomic or locked.
final class EventLoop: SerialExecutor, @unchecked Sendable {
  private static let readBufferSize = 64 << 10

  private let epoll: Int32
  private let queue = LoopQueue()
  private let stopping = Atomic<Bool>(false)
  private let thread = Atomic<UInt>(0)
  private let tasks = Atomic<Int>(0)
  let counters = Counters()

  // Confined to the loop's thread.
  private var slots = SlotTable()
  private(set) var now: Int64 = 0
  private var date = DateCache()
  /// What a read lands in; valid until the next read on this loop.
  let readBuffer = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: readBufferSize)
  private var spareBuffers: [[UInt8]] = []

  init() throws(ServerError) {
    epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
    readBuffer.initialize(repeating: 0)
    guard epoll >= 0, queue.wake >= 0 else { throw .system("epoll", errno) }
    now = Self.monotonicMilliseconds()
    var event = epoll_event()
    event.events = EPOLLIN.rawValue
    event.data.u64 = SlotTable.wakeToken
    epoll_ctl(epoll, EPOLL_CTL_ADD, queue.wake, &event)
  }

  deinit {
    close(epoll)
    readBuffer.deallocate()
  }

  // MARK: Work from other threads

  func enqueue(_ job: consuming ExecutorJob) { queue.append(.job(UnownedJob(job))) }

  /// Runs `work` on the loop's thread, soon.
  func submit(_ work: @escaping @Sendable () -> Void) { queue.append(.work(work)) }

  /// The executor of handlers.
  var handlers: LoopQueue { queue }

  func asUnownedSerialExecutor() -> UnownedSerialExecutor { UnownedSerialExecutor(ordinary: self) }

  func isIsolatingCurrentContext() -> Bool? { isCurrent }

  func checkIsolated() { precondition(isCurrent, "not on the event loop") }

  /// Whether this is the loop's thread.
  var isCurrent: Bool { thread.load(ordering: .relaxed) == UInt(pthread_self()) }

  /// Makes ``run()`` return when nothing is queued and no handler runs any more: one that does would wait for ever for
  /// an executor that is gone.
  func stop() {
    stopping.store(true, ordering: .sequentiallyConsistent)
    submit {}
  }

  func taskBegan() { tasks.add(1, ordering: .relaxed) }

  func taskEnded() {
    tasks.subtract(1, ordering: .sequentiallyConsistent)
    if stopping.load(ordering: .sequentiallyConsistent) { submit {} }
  }

  /// Handlers of this loop's connections that have not returned.
  var runningTasks: Int { tasks.load(ordering: .sequentiallyConsistent) }

  // MARK: Sockets

  /// Starts watching `fd`. Nil when the kernel refuses.
  func register(_ fd: Int32, _ handler: SlotTable.Handler, events: UInt32) -> SlotTable.Token? {
    let token = slots.insert(handler)
    guard control(EPOLL_CTL_ADD, fd, token, events) else {
      slots.remove(token)
      return nil
    }
    return token
  }

  func modify(_ fd: Int32, _ token: SlotTable.Token, events: UInt32) { _ = control(EPOLL_CTL_MOD, fd, token, events) }

  func deregister(_ fd: Int32, _ token: SlotTable.Token) {
    _ = control(EPOLL_CTL_DEL, fd, token, 0)
    slots.remove(token)
  }

  /// When to call the handler's `deadlineReached`, in the time of `now`; `Int64.max` for never.
  func setDeadline(_ deadline: Int64, for token: SlotTable.Token) { slots.setDeadline(deadline, for: token) }

  /// Every connection of this loop.
  var connections: [Connection] { slots.connections }

  private func control(_ operation: Int32, _ fd: Int32, _ token: SlotTable.Token, _ events: UInt32) -> Bool {
    var event = epoll_event()
    event.events = events
    event.data.u64 = token.rawValue
    return epoll_ctl(epoll, operation, fd, &event) == 0
  }

  // MARK: Buffers

  /// An empty array with memory from an earlier use, so that answering a request allocates none.
  func takeBuffer() -> [UInt8] { spareBuffers.popLast() ?? [] }

  func giveBack(_ buffer: inout [UInt8]) {
    if spareBuffers.count < 64, buffer.capacity > 0, buffer.capacity <= 32 << 10 {
      buffer.removeAll(keepingCapacity: true)
      spareBuffers.append(buffer)
    }
    buffer = []
  }

  /// The field line `Date: …` for now.
  func dateLine() -> [UInt8] { date.current() }

  // MARK: The loop

  /// Serves until ``stop()``. The calling thread becomes the loop's thread.
  func run() {
    thread.store(UInt(pthread_self()), ordering: .sequentiallyConsistent)
    blockSignals()
    let executor = asUnownedSerialExecutor()
    let taskExecutor = queue.asUnownedTaskExecutor()
    var events = [epoll_event](repeating: epoll_event(), count: 256)
    var batch: [LoopQueue.Item] = []
    while true {
      queue.take(into: &batch)
      for item in batch {
        switch item {
        case .job(let job): job.runSynchronously(isolatedTo: executor, taskExecutor: taskExecutor)
        case .handler(let job): job.runSynchronously(on: taskExecutor)
        case .work(let work): work()
        }
      }
      batch.removeAll(keepingCapacity: true)
      let idle = queue.mayRest()
      if idle, stopping.load(ordering: .sequentiallyConsistent), runningTasks == 0 { break }
      let count = epoll_wait(epoll, &events, Int32(events.count), idle ? timeout() : 0)
      queue.woken()
      now = Self.monotonicMilliseconds()
      for index in 0..<Int(max(0, count)) { dispatch(events[index]) }
      for handler in slots.takeDue(at: now) {
        switch handler {
        case .connection(let connection): connection.assumeIsolated { $0.deadlineReached() }
        case .listener(let listener): listener.assumeIsolated { $0.deadlineReached() }
        }
      }
    }
    thread.store(0, ordering: .sequentiallyConsistent)
  }

  private func dispatch(_ event: epoll_event) {
    let raw = event.data.u64
    if raw == SlotTable.wakeToken {
      queue.clearWake()
      return
    }
    switch slots.handler(for: SlotTable.Token(rawValue: raw)) {
    case .connection(let connection): connection.assumeIsolated { $0.ready(event.events) }
    case .listener(let listener): listener.assumeIsolated { $0.ready() }
    case nil: break
    }
  }

  private func timeout() -> Int32 {
    guard slots.nextDeadline < .max else { return -1 }
    return Int32(clamping: max(0, slots.nextDeadline - Self.monotonicMilliseconds() + 1))
  }

  /// Signals are for the program's other threads. SIGPIPE in particular: OpenSSL writes with write(2).
  private func blockSignals() {
    var all = sigset_t()
    sigfillset(&all)
    for fatal in [SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP] { sigdelset(&all, fatal) }
    pthread_sigmask(SIG_SETMASK, &all, nil)
  }

  private static func monotonicMilliseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC_COARSE, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
  }
}
