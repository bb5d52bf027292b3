import Execution
import Foundation
import Logging
import Postgres

/// Something that tasks wait for.
enum Topic: Hashable, Sendable {
  /// A row of the work queue is due.
  case work
  /// Events were committed.
  case events
  /// A node's documents, or what is streamed from it, changed.
  case node(UUID)
  /// An operation ended.
  case operation(UUID)
  /// There is something to send to a webhook.
  case webhooks
  /// A content is to be fetched or finished.
  case images
  /// Networks changed, which OVN does not know yet.
  case networks
  /// This replica is going down. Never travels.
  case draining

  /// The form that travels between replicas.
  var payload: String {
    switch self {
    case .work: "work"
    case .events: "events"
    case .node(let id): "node:\(id.uuidString)"
    case .operation(let id): "operation:\(id.uuidString)"
    case .webhooks: "webhooks"
    case .images: "images"
    case .networks: "networks"
    case .draining: "draining"
    }
  }

  init?(payload: String) {
    let parts = payload.split(separator: ":", maxSplits: 1)
    switch (parts.first, parts.count == 2 ? UUID(uuidString: String(parts[1])) : nil) {
    case ("work", _): self = .work
    case ("events", _): self = .events
    case ("webhooks", _): self = .webhooks
    case ("images", _): self = .images
    case ("networks", _): self = .networks
    case ("node", let id?): self = .node(id)
    case ("operation", let id?): self = .operation(id)
    default: return nil
    }
  }
}

/// Tells tasks, here and on the other replicas, that it is worth looking at the database again.
///
/// A wake-up carries no state and may be lost: whoever waits looks again by itself after a while. Waiting is in three steps so
/// that nothing slips between looking and waiting: take a ``ticket(_:)``, look, then ``wait(for:since:atMost:)``.
///
/// `NOTIFY` is sent behind the transaction and not in it, because PostgreSQL makes committing notifiers queue behind one
/// lock, which would end group commit. Several wake-ups travel in one statement.
final class Wakeups: Sendable {
  struct Ticket: Sendable, Equatable { fileprivate let count: UInt64 }

  private struct Waiter {
    let id: UInt64
    let continuation: CheckedContinuation<Void, Never>
    /// Ends the wait when its time is over.
    var timer: Task<Void, Never>?
  }

  private struct State {
    /// How often each topic was woken. Forgotten topics restart at `forgotten`, which is never below any of them.
    var counts: [Topic: UInt64] = [:]
    var forgotten: UInt64 = 0
    var waiters: [Topic: [Waiter]] = [:]
    var nextWaiter: UInt64 = 0
    var outgoing: Set<Topic> = []
    var sending = false
    var isDraining = false
  }

  static let channel = "aloft_wakeups"
  private static let mostTopics = 100_000
  private static let retry = Duration.seconds(1)

  /// The first word of what this replica sends. A replica that does not know it takes it for an unknown topic.
  private let sender: String

  private let state = Lock(State())
  private let database: Database
  private let environment: Environment
  private let logger: Logger

  init(database: Database, environment: Environment, logger: Logger) {
    self.database = database
    self.environment = environment
    self.logger = logger
    sender = "from:" + environment.newUUID().uuidString
  }

  /// Wakes whoever waits here, at once, and soon on the other replicas.
  func signal(_ topics: some Sequence<Topic>) {
    let topics = Set(topics)
    guard !topics.isEmpty else { return }
    deliver(topics)
    let start = state.withLock { state in
      state.outgoing.formUnion(topics)
      if state.sending { return false }
      state.sending = true
      return true
    }
    if start { Task { await self.sendOutgoing() } }
  }

  /// Wakes whoever waits at this replica.
  func signalHere(_ topic: Topic) { deliver([topic]) }

  /// Where a topic stands now; take it before looking at the database.
  func ticket(_ topic: Topic) -> Ticket {
    state.withLock { Ticket(count: $0.counts[topic] ?? $0.forgotten) }
  }

  /// How many tasks wait now.
  var waiting: Int { state.withLock { $0.waiters.values.reduce(0) { $0 + $1.count } } }

  /// Returns when the topic was woken after `ticket`, when `limit` has passed, or when the task is cancelled.
  func wait(for topic: Topic, since ticket: Ticket, atMost limit: Duration) async {
    let id = state.withLock { state in
      state.nextWaiter += 1
      return state.nextWaiter
    }
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let now = state.withLock { state in
          if Task.isCancelled || (state.counts[topic] ?? state.forgotten) != ticket.count { return true }
          state.waiters[topic, default: []].append(Waiter(id: id, continuation: continuation))
          return false
        }
        if now { continuation.resume() } else { startTimer(limit, topic, waiter: id) }
      }
    } onCancel: {
      self.resume(topic, waiter: id)
    }
  }

  /// Whether whoever waits for a client's sake should answer with what there is.
  var isDraining: Bool { state.withLock { $0.isDraining } }

  /// Lets all who wait look once more, and see that this replica is going down.
  func drain() {
    state.withLock { $0.isDraining = true }
    forgetAll()
  }

  /// Returns when ``drain()`` was called, or when the task is cancelled.
  func untilDraining() async {
    while true {
      let ticket = ticket(.draining)
      if isDraining || Task.isCancelled { return }
      await wait(for: .draining, since: ticket, atMost: .seconds(3600))
    }
  }

  /// Makes every ticket old, also those of tasks that are between looking and waiting.
  private func forgetAll() {
    let woken = state.withLock { state in
      state.forgotten = max(state.forgotten, state.counts.values.max() ?? 0) + 1
      state.counts = [:]
      defer { state.waiters = [:] }
      return state.waiters.values.flatMap { $0 }
    }
    for waiter in woken {
      waiter.timer?.cancel()
      waiter.continuation.resume()
    }
  }

  /// The waiter is registered already: a timer that ends at once must find it.
  private func startTimer(_ limit: Duration, _ topic: Topic, waiter id: UInt64) {
    let timer = Task {
      try? await environment.sleep(limit)
      self.resume(topic, waiter: id)
    }
    let waits = state.withLock { state in
      guard let index = state.waiters[topic]?.firstIndex(where: { $0.id == id }) else { return false }
      state.waiters[topic]?[index].timer = timer
      return true
    }
    if !waits { timer.cancel() }
  }

  /// Passes on what the other replicas send, until cancelled. Listening that could not begin is tried again.
  func listen() async {
    while !Task.isCancelled {
      for await notification in database.listen([Self.channel]) {
        switch notification {
        case .message(_, let payload): receive(payload)
        case .resync: deliverAll()
        }
      }
      try? await environment.sleep(Self.retry)
    }
  }

  private func receive(_ payload: String) {
    let words = payload.split(separator: " ").map(String.init)
    // Whoever waits here was woken by the signal itself.
    if words.first == sender { return }
    deliver(Set(words.compactMap { Topic(payload: $0) }))
  }

  private func resume(_ topic: Topic, waiter id: UInt64) {
    let waiter = state.withLock { state -> Waiter? in
      guard let index = state.waiters[topic]?.firstIndex(where: { $0.id == id }) else { return nil }
      let waiter = state.waiters[topic]?.remove(at: index)
      if state.waiters[topic]?.isEmpty == true { state.waiters[topic] = nil }
      return waiter
    }
    waiter?.timer?.cancel()
    waiter?.continuation.resume()
  }

  private func deliver(_ topics: Set<Topic>) {
    let woken = state.withLock { state in
      if state.counts.count > Self.mostTopics {
        state.forgotten = (state.counts.values.max() ?? state.forgotten) + 1
        state.counts = [:]
      }
      var woken: [Waiter] = []
      for topic in topics {
        state.counts[topic] = (state.counts[topic] ?? state.forgotten) + 1
        woken += state.waiters.removeValue(forKey: topic) ?? []
      }
      return woken
    }
    for waiter in woken {
      waiter.timer?.cancel()
      waiter.continuation.resume()
    }
  }

  /// Wakes everybody: notifications may have been missed.
  private func deliverAll() {
    deliver(state.withLock { Set($0.waiters.keys) })
  }

  private func sendOutgoing() async {
    while true {
      let topics = state.withLock { state in
        defer { state.outgoing = [] }
        if state.outgoing.isEmpty { state.sending = false }
        return state.outgoing
      }
      if topics.isEmpty { return }
      // PostgreSQL takes 8000 bytes in one payload.
      for batch in Array(topics).chunks(of: 100) {
        let payload = ([sender] + batch.map(\.payload)).joined(separator: " ")
        do {
          // A wake-up may be lost, so its commit need not be synced.
          _ = try await database.query(
            "SELECT set_config('synchronous_commit', 'off', true), pg_notify(\(Self.channel), \(payload))")
        } catch {
          logger.debug("a wake-up was lost", metadata: ["error": "\(error)"])
        }
      }
    }
  }
}

extension Array {
  /// The elements in groups of `count`, the last one with what is left.
  func chunks(of count: Int) -> [ArraySlice<Element>] {
    stride(from: 0, to: self.count, by: count).map { self[$0..<Swift.min($0 + count, self.count)] }
  }
}
