import CPostgres
import Execution
import Glibc

/// What a listener hears.
public enum Notification: Sendable, Hashable {
  /// LISTEN is in force from here on (first time, and again after a reconnect), or notifications had to be dropped because
  /// nobody took them. Whatever was sent before may have been missed: look at the tables again.
  case resync
  /// A NOTIFY.
  case message(channel: String, payload: String)
}

extension Database {
  /// Listens on `channels`, on a connection and a thread of its own, until the stream is dropped or the database shut down.
  ///
  /// The stream never fails: a lost connection is replaced with backoff, and `.resync` says so. It holds at most
  /// 1024 notifications; when it is full, further ones are dropped and a `.resync` takes their place.
  public func listen(_ channels: [String]) -> AsyncStream<Notification> {
    let (stream, continuation) = AsyncStream.makeStream(
      of: Notification.self, bufferingPolicy: .bufferingOldest(1_024))
    let listener: Listener
    do throws(PostgresError) {
      listener = try Listener(self, channels, continuation)
    } catch {
      logger.error("cannot listen", metadata: ["error": "\(error)"])
      continuation.finish()
      return stream
    }
    let id = ObjectIdentifier(listener)
    listeners.withLock { $0[id] = listener }
    continuation.onTermination = { [weak self] _ in
      listener.stop()
      self?.listeners.withLock { _ = $0.removeValue(forKey: id) }
    }
    listener.start()
    return stream
  }
}

/// One listening connection.
///
/// `@unchecked Sendable`: `gap` is only touched on `thread`; everything else is constant or locked.
final class Listener: @unchecked Sendable {
  private let configuration: DatabaseConfiguration
  private let channels: [String]
  private let continuation: AsyncStream<Notification>.Continuation
  private let wakeup: Wakeup
  private let stopped = CancellationFlag()
  private let thread = DedicatedThread(name: "pg-listen")
  private let log: @Sendable (PostgresError) -> Void
  private var gap = NotificationGap()

  init(
    _ database: Database, _ channels: [String], _ continuation: AsyncStream<Notification>.Continuation
  ) throws(PostgresError) {
    configuration = database.configuration
    self.channels = channels
    self.continuation = continuation
    wakeup = try Wakeup.forConnection()
    let logger = database.logger
    log = { logger.warning("the listening connection was lost, trying again", metadata: ["error": "\($0)"]) }
  }

  func start() {
    Task.detached(executorPreference: thread) { self.run() }
  }

  func stop() {
    stopped.set()
    wakeup.wake()
  }

  private func run() {
    var attempt = 0
    while !stopped.isSet {
      do throws(PostgresError) {
        let connection = try Connection.open(configuration, wakeup: wakeup, cancellation: stopped)
        try connection.runScript(
          channels.map { "LISTEN \(SQL.quote(identifier: $0))" }.joined(separator: ";"))
        attempt = 0
        yield(.resync)
        try listen(on: connection)
      } catch {
        if stopped.isSet { break }
        if attempt == 0 { log(error) }
        attempt += 1
        wakeup.sleep(configuration.reconnectBackoff.delay(attempt: attempt))
      }
    }
    continuation.finish()
  }

  private func listen(on connection: Connection) throws(PostgresError) {
    while !stopped.isSet {
      while let notify = PQnotifies(connection.handle) {
        defer { PQfreemem(notify) }
        yield(
          .message(
            channel: String(cString: notify.pointee.relname), payload: String(cString: notify.pointee.extra)))
      }
      var entries = [
        pollfd(fd: PQsocket(connection.handle), events: Int16(POLLIN), revents: 0),
        pollfd(fd: wakeup.descriptor, events: Int16(POLLIN), revents: 0),
      ]
      // While there is a gap, try again soon to say so: the reader may have caught up.
      _ = poll(&entries, 2, gap.isOpen ? 100 : -1)
      if entries[1].revents != 0 { wakeup.drain() }
      if gap.isOpen { yield(.resync) }
      if entries[0].revents != 0, PQconsumeInput(connection.handle) != 1 { throw connection.lost() }
    }
  }

  private func yield(_ notification: Notification) {
    gap.offer(notification) { notification in
      if case .dropped = continuation.yield(notification) { false } else { true }
    }
  }
}

/// Remembers that something was dropped until a `.resync` could be said.
struct NotificationGap {
  private(set) var isOpen = false

  /// Passes `notification` on; while the gap is open a `.resync` goes in its place, which covers it.
  mutating func offer(_ notification: Notification, _ accept: (Notification) -> Bool) {
    isOpen = !accept(isOpen ? .resync : notification)
  }
}
