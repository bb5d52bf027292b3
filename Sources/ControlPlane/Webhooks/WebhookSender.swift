import AloftModel
import Execution
import Foundation
import Logging
import Postgres

/// Sends what is due. Every replica has one; they share the webhooks by rows of the work queue.
///
/// Invariants:
/// - A webhook is in the hands of one replica at a time, for a round: what is due is sent, its outcome written, and the row put
///   off until something is due again. A replica that dies leaves a lease, and another sends what has no outcome yet: at
///   least once.
/// - Nothing is sent while a transaction is open. Every round ends long before its lease.
/// - Targets that fail or are slow share a part of the turns: they cannot hold up those that do well.
struct WebhookSender: Sendable {
  /// Webhooks that are sent to at once by this replica, and how many of those may be failing or slow.
  static let width = 64
  static let slowWidth = 16
  /// Deliveries at once to one webhook that does well. One that fails gets one at a time.
  static let perWebhook = 4
  /// Looks at the queue at least this often, whatever wake-ups were lost.
  static let longestPause = Duration.seconds(2)

  let database: Database
  let wakeups: Wakeups
  let transport: WebhookTransport
  let metrics: PlaneMetrics
  let environment: Environment
  let logger: Logger
  private let running = Lock(Running())

  private struct Running {
    var fast = 0
    var slow = 0
  }

  init(
    database: Database, wakeups: Wakeups, transport: WebhookTransport, metrics: PlaneMetrics, environment: Environment,
    logger: Logger
  ) {
    self.database = database
    self.wakeups = wakeups
    self.transport = transport
    self.metrics = metrics
    self.environment = environment
    self.logger = logger
  }

  /// Does one round for each webhook that is due, and waits for all of them. Returns how many there were.
  func step() async throws -> Int {
    let items = try await take(fast: Self.width, slow: Self.slowWidth)
    await withTaskGroup(of: Void.self) { group in
      for (item, _) in items { group.addTask { await round(item) } }
    }
    return items.count
  }

  /// Runs until cancelled. While this replica stops it begins nothing new.
  func run() async {
    await withDiscardingTaskGroup { group in
      while !Task.isCancelled, !wakeups.isDraining {
        let ticket = wakeups.ticket(.webhooks)
        do {
          let (fast, slow) = running.withLock { (Self.width - $0.fast - $0.slow, Self.slowWidth - $0.slow) }
          let items = try await take(fast: fast, slow: min(fast, slow))
          for (item, isSlow) in items {
            count(1, isSlow)
            group.addTask {
              await round(item)
              count(-1, isSlow)
              wakeups.signalHere(.webhooks)
            }
          }
          await wakeups.wait(for: .webhooks, since: ticket, atMost: try await pause())
        } catch is CancellationError {
          return
        } catch {
          logger.warning("what is to be sent to webhooks cannot be read", metadata: ["error": "\(error)"])
          try? await environment.sleep(.seconds(1))
        }
      }
    }
  }

  private func count(_ change: Int, _ isSlow: Bool) {
    running.withLock { running in
      if isSlow { running.slow += change } else { running.fast += change }
    }
  }

  /// Takes due rows, with whether they are of webhooks that fail or are slow.
  private func take(fast: Int, slow: Int) async throws -> [(WorkItem, Bool)] {
    var items: [(WorkItem, Bool)] = []
    if fast > 0 { items += try await WebhookQueue.take(slow: false, limit: fast, in: database).map { ($0, false) } }
    let left = min(slow, fast - items.count)
    if left > 0 { items += try await WebhookQueue.take(slow: true, limit: left, in: database).map { ($0, true) } }
    return items
  }

  /// While something runs, its end wakes; else until something is due.
  private func pause() async throws -> Duration {
    let isBusy = running.withLock { $0.fast + $0.slow > 0 }
    let seconds = try await database.run { session in try WorkQueue.secondsToNext([.webhook], in: session) }
    guard let seconds else { return Self.longestPause }
    return min(Self.longestPause, .milliseconds(Int(max(isBusy ? 250 : 5, seconds * 1000))))
  }

  /// What a round is to send.
  private struct Plan: Sendable {
    var webhook: WebhookRecord
    var deliveries: [WebhookDeliveryRecord]
  }

  private func round(_ item: WorkItem) async {
    let id = WebhookID(item.id)
    do {
      if let plan = try await plan(id, item) {
        await withTaskGroup(of: Void.self) { group in
          for delivery in plan.deliveries { group.addTask { await attempt(delivery, plan.webhook) } }
        }
      }
      try Task.checkCancellation()
      try await database.transaction { session in
        try session.commit(with: WorkQueue.finishing(item, next: try Self.next(id, in: session)))
      }
    } catch {
      guard !Task.isCancelled else { return }
      logger.error("a webhook's round failed", metadata: ["webhook": "\(id)", "error": "\(error)"])
      let pause = Backoff.pause(attempt: item.attempts, random: environment.random())
      _ = try? await database.transaction { session in
        try WorkQueue.fail(item, error: "\(error)", pause: pause, in: session)
      }
    }
  }

  /// Nil when there is nothing to send now.
  private func plan(_ id: WebhookID, _ item: WorkItem) async throws -> Plan? {
    try await database.transaction { session in
      guard let webhook = try WebhookStore.find(id, in: session), webhook.enabled else { return nil }
      try WebhookDeliveryStore.giveUpExpired(of: id, in: session)
      if let retryAt = webhook.health.retryAt, try Self.now(in: session) < retryAt { return nil }
      let limit = webhook.health.failures == 0 ? Self.perWebhook : 1
      let due = try WebhookDeliveryStore.due(for: id, limit: limit, in: session)
      return due.isEmpty ? nil : Plan(webhook: webhook, deliveries: due)
    }
  }

  /// When to look at a webhook again; nil: when something new is to be sent.
  private static func next(_ id: WebhookID, in session: Session) throws -> Date? {
    guard let webhook = try WebhookStore.find(id, in: session), webhook.enabled,
      let due = try WebhookDeliveryStore.nextDue(for: id, in: session)
    else { return nil }
    return max(due, webhook.health.retryAt ?? due)
  }

  private func attempt(_ delivery: WebhookDeliveryRecord, _ webhook: WebhookRecord) async {
    guard let result = await transport.send(delivery, to: webhook) else { return }
    metrics.attempted(result.failure)
    let random = environment.random()
    do {
      let disabled = try await database.transaction { session in
        try Self.record(result, delivery, of: webhook.id, random: random, in: session)
      }
      if disabled { wakeups.signal([.events]) }
    } catch {
      // It is sent again: nobody knows that it was.
      logger.warning(
        "the outcome of a delivery could not be written", metadata: ["delivery": "\(delivery.id)", "error": "\(error)"])
    }
  }

  /// Writes what came of an attempt. Returns whether the webhook was disabled for it.
  static func record(
    _ result: WebhookResult, _ delivery: WebhookDeliveryRecord, of id: WebhookID, random: UInt64, in session: Session
  ) throws -> Bool {
    // Deleted meanwhile: nobody asks any more.
    guard let webhook = try WebhookStore.lock(id, in: session) else { return false }
    let now = try now(in: session)
    let next = WebhookSchedule.next(
      afterAttempt: delivery.tries + 1, at: now, expires: delivery.expiresAt, random: random)
    try WebhookDeliveryStore.record(delivery, result, next: result.isDelivered ? nil : next, in: session)
    var health = webhook.health
    let disabling = health.record(result.outcome, milliseconds: result.milliseconds, at: now)
    if health != webhook.health { try WebhookStore.write(health, of: id, in: session) }
    guard webhook.enabled, let disabling else { return false }
    try WebhookStore.disable(id, because: disabling, in: session)
    try EventStore.append(
      .webhookDisabled, project: webhook.projectID, resource: id.uuid,
      data: ["name": webhook.name, "reason": disabling.rawValue], in: session)
    return true
  }

  private static func now(in session: Session) throws -> Date {
    try session.one("SELECT aloft_now()")?.get(0) ?? .distantPast
  }
}

/// The part of the work queue that says which webhooks have something due.
enum WebhookQueue {
  /// Takes due rows, of webhooks that do well or of those that fail or are slow. What is left of a deleted one counts as well.
  static func take(slow: Bool, limit: Int, in database: Database) async throws -> [WorkItem] {
    try await database.query(
      """
      UPDATE work SET lease_until = aloft_now() + make_interval(secs => \(WorkQueue.leaseSeconds)), attempts = attempts + 1
       WHERE kind = \(WorkKind.webhook.rawValue) AND id IN (
         SELECT k.id FROM work k LEFT JOIN webhooks w ON w.id = k.id
          WHERE k.kind = \(WorkKind.webhook.rawValue) AND k.due_at <= aloft_now()
            AND (k.lease_until IS NULL OR k.lease_until < aloft_now())
            AND coalesce(w.failures > 0 OR w.is_slow, false) = \(slow)
          ORDER BY k.due_at LIMIT \(limit) FOR UPDATE OF k SKIP LOCKED)
      RETURNING id, wakes, attempts
      """
    ).map { row in
      WorkItem(kind: .webhook, id: try row.get(0), wakes: try row.get(1), attempts: try row.get(2))
    }
  }
}
