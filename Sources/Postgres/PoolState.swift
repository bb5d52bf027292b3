/// Who uses which worker and who waits: the pool's rules, without threads or clocks.
///
/// Invariants: nobody waits while a worker is idle; those who wait are served in the order in which they came.
struct PoolState<Job: AnyObject> {
  enum Submission {
    case start(worker: Int)
    /// The job waits. `isFirst`: nobody else did, so somebody has to watch the deadlines from now on.
    case wait(isFirst: Bool)
    case refuse
  }

  /// Idle workers; the last is taken first, so that connections with warm caches are used most.
  private var idle: [Int]
  private(set) var running: [Int: Job] = [:]
  private var waiting: [Job] = []
  private(set) var isShutDown = false
  /// Whether somebody watches the deadlines.
  private var isWatched = false

  init(workers: Int) { idle = Array((0..<workers).reversed()) }

  var waitingCount: Int { waiting.count }

  mutating func submit(_ job: Job) -> Submission {
    if isShutDown { return .refuse }
    if let worker = idle.popLast() {
      running[worker] = job
      return .start(worker: worker)
    }
    waiting.append(job)
    let isFirst = !isWatched
    isWatched = true
    return .wait(isFirst: isFirst)
  }

  /// `worker` is done with its job; gives it the next one, if there is one. A worker without a connection is used last.
  mutating func finished(_ worker: Int, connected: Bool) -> Job? {
    running[worker] = nil
    if !waiting.isEmpty {
      let next = waiting.removeFirst()
      running[worker] = next
      return next
    }
    if connected { idle.append(worker) } else { idle.insert(worker, at: 0) }
    return nil
  }

  /// Takes a job out of the queue; false if it does not wait there.
  mutating func withdraw(_ job: Job) -> Bool {
    guard let index = waiting.firstIndex(where: { $0 === job }) else { return false }
    waiting.remove(at: index)
    return true
  }

  func worker(running job: Job) -> Int? { running.first { $0.value === job }?.key }

  /// Takes out the jobs at the head of the queue that are `overdue`; gives the first that is not, whose deadline is next.
  mutating func expire(where overdue: (Job) -> Bool) -> (expired: [Job], next: Job?) {
    let expired = Array(waiting.prefix(while: overdue))
    waiting.removeFirst(expired.count)
    isWatched = !waiting.isEmpty
    return (expired, waiting.first)
  }

  /// No job is accepted any more; gives those that waited.
  mutating func shutDown() -> [Job] {
    isShutDown = true
    defer { waiting = [] }
    return waiting
  }
}
