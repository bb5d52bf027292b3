import Glibc

/// The project's one lock: a value that is reached only while a `pthread_mutex_t` is held.
///
/// It is built on pthreads because the thread sanitizer reports false races on `Synchronization.Mutex` on Linux. Hold it
/// for a few instructions, never across a call that may block, and never across an `await` (the closure cannot suspend).
///
/// `@unchecked Sendable`: `state` is only touched while `mutex` is held.
public final class Lock<State>: @unchecked Sendable {
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private var state: State

  /// Makes an unlocked lock around `state`.
  public init(_ state: sending State) {
    mutex = .allocate(capacity: 1)
    mutex.initialize(to: pthread_mutex_t())
    pthread_mutex_init(mutex, nil)
    self.state = state
  }

  deinit {
    pthread_mutex_destroy(mutex)
    mutex.deallocate()
  }

  /// Runs `body` with exclusive access to the value.
  public func withLock<Result, Failure: Error>(
    _ body: (inout sending State) throws(Failure) -> sending Result
  ) throws(Failure) -> sending Result {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return try body(&state)
  }
}
