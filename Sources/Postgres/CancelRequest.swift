import CPostgres
import Execution
import Synchronization

/// One request to the server to stop what a session runs.
///
/// libpq 15's PQcancel connects, sends and waits for the server to hang up, all of it blocking and without a limit. So it
/// runs on a thread of its own: a silent server may hold that one, while the session's thread waits with a limit.
///
/// `@unchecked Sendable`: `handle` is constant and, by libpq's promise, safe to use on any thread.
final class CancelRequest: @unchecked Sendable {
  private let handle: OpaquePointer
  private let done = Atomic(false)
  let begun = ContinuousClock.now

  /// Nil when the connection has no key to cancel with.
  init?(for connection: OpaquePointer) {
    guard let handle = PQgetCancel(connection) else { return nil }
    self.handle = handle
  }

  deinit { PQfreeCancel(handle) }

  /// Whether the server has had the request, or will never have it.
  var isDone: Bool { done.load(ordering: .acquiring) }

  /// Sends the request, on `thread`; wakes `wakeup` when it is done.
  func send(on thread: DedicatedThread, wakeup: Wakeup) {
    Task.detached(executorPreference: thread) {
      var reason = [CChar](repeating: 0, count: 256)
      PQcancel(self.handle, &reason, 256)
      self.done.store(true, ordering: .releasing)
      wakeup.wake()
    }
  }
}
