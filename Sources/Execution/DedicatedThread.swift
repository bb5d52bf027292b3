import CLinux
import Glibc

/// A thread that runs one job after another and is allowed to block.
///
/// Swift's cooperative pool has as many threads as the machine has cores, so a C call that blocks (libpq, libvirt) must
/// never run there. An actor whose `unownedExecutor` is a dedicated thread may make such calls; so may a closure given
/// to ``run(_:)``.
///
/// The thread ends by itself when the last reference is gone and the queue is empty.
///
/// `@unchecked Sendable`: its one property is constant, and the queue guards itself.
public final class DedicatedThread: SerialExecutor, TaskExecutor, @unchecked Sendable {
  private let queue = JobQueue()

  /// Starts the thread. `name` is shown by debuggers and `top -H`; Linux keeps its first 15 bytes.
  public init(name: String) {
    let start = Unmanaged.passRetained(Start(name: name, queue: queue))
    var thread = pthread_t()
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    pthread_attr_setstacksize(&attributes, 1 << 20)
    let code = pthread_create(
      &thread, &attributes,
      { argument in
        guard let argument else { return nil }
        let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
        _ = pthread_setname_np(pthread_self(), String(decoding: start.name.utf8.prefix(15), as: UTF8.self))
        start.queue.drain()
        return nil
      }, start.toOpaque())
    pthread_attr_destroy(&attributes)
    // Without its thread every job would wait forever: there is no state to go on in.
    precondition(code == 0, "pthread_create failed with \(code)")
  }

  deinit { queue.close() }

  public func enqueue(_ job: consuming ExecutorJob) {
    queue.append(.job(UnownedJob(job), asUnownedSerialExecutor()))
  }

  public func asUnownedSerialExecutor() -> UnownedSerialExecutor { UnownedSerialExecutor(ordinary: self) }

  /// Runs `body` on this thread, after what is queued already, and returns what it returned.
  public func run<Result: Sendable, Failure: Error>(
    _ body: @escaping @Sendable () throws(Failure) -> Result
  ) async throws(Failure) -> Result {
    let outcome: Swift.Result<Result, Failure> = await withCheckedContinuation { continuation in
      queue.append(
        .work {
          do throws(Failure) { continuation.resume(returning: .success(try body())) } catch {
            continuation.resume(returning: .failure(error))
          }
        })
    }
    return try outcome.get()
  }
}

private final class Start {
  let name: String
  let queue: JobQueue

  init(name: String, queue: JobQueue) {
    self.name = name
    self.queue = queue
  }
}

/// The queue outlives the `DedicatedThread` value, so that the thread can finish what was accepted before it ends.
///
/// `@unchecked Sendable`: `items` and `closed` are only touched while `mutex` is held.
private final class JobQueue: @unchecked Sendable {
  enum Item {
    case job(UnownedJob, UnownedSerialExecutor)
    case work(() -> Void)
  }

  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let changed: UnsafeMutablePointer<pthread_cond_t>
  private var items: [Item] = []
  private var closed = false

  init() {
    mutex = .allocate(capacity: 1)
    mutex.initialize(to: pthread_mutex_t())
    pthread_mutex_init(mutex, nil)
    changed = .allocate(capacity: 1)
    changed.initialize(to: pthread_cond_t())
    pthread_cond_init(changed, nil)
  }

  deinit {
    pthread_cond_destroy(changed)
    changed.deallocate()
    pthread_mutex_destroy(mutex)
    mutex.deallocate()
  }

  func append(_ item: Item) {
    pthread_mutex_lock(mutex)
    items.append(item)
    pthread_cond_signal(changed)
    pthread_mutex_unlock(mutex)
  }

  func close() {
    pthread_mutex_lock(mutex)
    closed = true
    pthread_cond_signal(changed)
    pthread_mutex_unlock(mutex)
  }

  /// Runs items until the queue is closed and empty.
  func drain() {
    var batch: [Item] = []
    while true {
      pthread_mutex_lock(mutex)
      while items.isEmpty && !closed { pthread_cond_wait(changed, mutex) }
      swap(&items, &batch)
      pthread_mutex_unlock(mutex)
      if batch.isEmpty { return }
      for item in batch {
        switch item {
        case .job(let job, let executor): job.runSynchronously(on: executor)
        case .work(let body): body()
        }
      }
      batch.removeAll(keepingCapacity: true)
    }
  }
}
