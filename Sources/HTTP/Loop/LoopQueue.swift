import CLinux
import Execution
import Glibc
import Synchronization

/// What an event loop is given to do, from any thread, and the executor of its handlers.
///
/// A handler whose task prefers this executor runs on the loop's thread wherever it is isolated to nothing or to an actor
/// without an executor of its own (SE-0417). So a request that is answered from memory never changes threads, and one
/// that asks a database changes twice: there and back. On Swift's pool each would change twice more, and each change
/// wakes a sleeping thread, which costs more than all else that a small request does.
final class LoopQueue: TaskExecutor {
  enum Item: Sendable {
    /// Work of an actor whose executor is the loop.
    case job(UnownedJob)
    /// A piece of a handler.
    case handler(UnownedJob)
    case work(@Sendable () -> Void)
  }

  /// Readable when the loop has been woken.
  let wake: Int32
  private let items = Lock<[Item]>([])
  private let asleep = Atomic<Bool>(false)

  init() { wake = eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC)) }

  deinit { close(wake) }

  func enqueue(_ job: consuming ExecutorJob) { append(.handler(UnownedJob(job))) }

  func append(_ item: Item) {
    items.withLock { $0.append(item) }
    if asleep.exchange(false, ordering: .sequentiallyConsistent) { eventfd_write(wake, 1) }
  }

  /// Takes all that there is. `batch` is empty, and its memory serves for what comes.
  func take(into batch: inout [Item]) { items.withLock { swap(&$0, &batch) } }

  /// The loop is about to sleep: from now on whoever appends wakes it. False if there is something to do already.
  func mayRest() -> Bool {
    asleep.store(true, ordering: .sequentiallyConsistent)
    return items.withLock { $0.isEmpty }
  }

  /// The loop is awake and looks here before it sleeps.
  func woken() { asleep.store(false, ordering: .sequentiallyConsistent) }

  /// Takes the signal to wake.
  func clearWake() {
    var value: eventfd_t = 0
    eventfd_read(wake, &value)
  }
}
