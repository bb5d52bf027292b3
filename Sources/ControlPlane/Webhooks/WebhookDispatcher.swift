import AloftModel
import Foundation
import Logging
import Postgres

/// Turns events into deliveries. Every replica has one; at any time one of them works.
///
/// Invariants:
/// - Events are taken in their total order, and how far is written in the transaction that makes their deliveries: none is
///   lost, and none makes two deliveries for one webhook.
/// - A webhook gets what its own project's readers see, from the moment on in which it was made or enabled.
/// - Nothing is sent here: see ``WebhookSender``.
struct WebhookDispatcher: Sendable {
  static let pageSize = 200
  /// An event becomes visible when every older transaction has ended, and nobody tells when.
  static let lookAgain = Duration.milliseconds(500)
  /// Looks this often while there is no webhook.
  static let idle = Duration.seconds(5)

  let database: Database
  let wakeups: Wakeups
  let environment: Environment
  let logger: Logger

  enum Step: Sendable, Equatable {
    /// There is no webhook to make deliveries for.
    case noWebhook
    /// So many events were passed. Nil: another replica is at work.
    case passed(Int?)
  }

  /// Passes one page of events.
  func step() async throws -> Step {
    guard try await database.one("SELECT 1 FROM webhooks WHERE enabled LIMIT 1") != nil else {
      try await skipAll()
      return .noWebhook
    }
    let random = environment.random
    let milliseconds = UInt64(max(0, environment.now().timeIntervalSince1970 * 1000))
    // Within a page ids follow the order of events: a counter in the bits behind the time (RFC 9562, 6.2, method 1).
    let ids: @Sendable (Int) -> WebhookDeliveryID = { place in
      WebhookDeliveryID(.v7(milliseconds: milliseconds, random: (UInt64(place), random())))
    }
    let (passed, made) = try await database.transaction { session -> (Int?, Int) in
      guard let cursor = try Self.lock(in: session) else { return (nil, 0) }
      let page = try EventStore.after(cursor, .everything, limit: Self.pageSize, in: session)
      guard page.end != cursor else { return (0, 0) }
      let new = try Self.deliveries(of: page.records, id: ids, in: session)
      try WebhookDeliveryStore.insert(new, in: session)
      for webhook in Set(new.map(\.webhook.uuid)).sorted(by: { $0.uuidString < $1.uuidString }) {
        try WorkQueue.wake(.webhook, webhook, in: session)
      }
      try Self.move(to: page.end, in: session)
      return (page.records.count, new.count)
    }
    if made > 0 { wakeups.signal([.webhooks]) }
    return .passed(passed)
  }

  /// Runs until cancelled.
  func run() async {
    while !Task.isCancelled {
      let (events, webhooks) = (wakeups.ticket(.events), wakeups.ticket(.webhooks))
      do {
        switch try await step() {
        case .noWebhook: await wakeups.wait(for: .webhooks, since: webhooks, atMost: Self.idle)
        case .passed(let count?) where count > 0: continue
        case .passed: await wakeups.wait(for: .events, since: events, atMost: Self.lookAgain)
        }
      } catch is CancellationError {
        return
      } catch {
        logger.warning("events cannot be turned into deliveries", metadata: ["error": "\(error)"])
        try? await environment.sleep(.seconds(1))
      }
    }
  }

  /// While nobody wants events, the cursor follows the newest, so that the first webhook need not wait for a month's events to
  /// be passed. One statement: whoever enables a webhook later than its snapshot wants none of the events in it.
  private func skipAll() async throws {
    try await database.execute(
      """
      UPDATE webhook_cursor c SET xid = e.xid, seq = e.seq
        FROM (SELECT xid, seq FROM events WHERE xid < aloft_events_settled() ORDER BY xid DESC, seq DESC LIMIT 1) e
       WHERE (c.xid, c.seq) <> (e.xid, e.seq) AND NOT EXISTS (SELECT 1 FROM webhooks WHERE enabled)
      """)
  }

  /// Where the next page begins; nil when another replica holds it.
  ///
  /// A cursor ahead of all transactions is of another server: the database was restored from a dump. Then everything starts
  /// anew, as it does for readers of the event stream.
  private static func lock(in session: Session) throws -> EventStore.Cursor? {
    guard
      let row = try session.one(
        """
        SELECT xid::text, seq, xid >= pg_snapshot_xmax(pg_current_snapshot()) FROM webhook_cursor FOR UPDATE SKIP LOCKED
        """),
      let transaction = UInt64(try row.get(0, as: String.self))
    else { return nil }
    guard try row.get(2) else { return EventStore.Cursor(transaction: transaction, number: try row.get(1)) }
    try session.execute(
      "UPDATE webhooks SET since = pg_current_snapshot(), made_in = pg_current_xact_id() WHERE enabled")
    try move(to: .oldest, in: session)
    return .oldest
  }

  private static func move(to cursor: EventStore.Cursor, in session: Session) throws {
    try session.execute(
      "UPDATE webhook_cursor SET xid = \(String(cursor.transaction))::xid8, seq = \(cursor.number)")
  }

  /// What these events give to send.
  private static func deliveries(
    of events: [EventStore.Record], id: (_ place: Int) -> WebhookDeliveryID, in session: Session
  ) throws -> [WebhookDeliveryStore.New] {
    let projects = Set(events.compactMap(\.projectID?.uuid)).sorted { $0.uuidString < $1.uuidString }
    let transactions = Set(events.map(\.cursor.transaction)).sorted().map { String($0) }
    guard !projects.isEmpty else { return [] }
    // Which of the transactions are news to which webhook. None is deleted before its deliveries are made.
    let rows = try session.query(
      """
      SELECT w.id, w.project_id, w.events, array(
               SELECT t FROM unnest(\(transactions)::text[]) AS t
                WHERE NOT pg_visible_in_snapshot(t::xid8, w.since) AND t::xid8 <> w.made_in)
        FROM webhooks w WHERE w.enabled AND w.project_id = ANY(\(projects)::uuid[]) ORDER BY w.id
         FOR KEY SHARE OF w
      """)
    struct Reader {
      var id: WebhookID
      var filter: WebhookFilter
      var news: Set<UInt64>
    }
    var readers: [ProjectID: [Reader]] = [:]
    for row in rows {
      let news = try row.get(3, as: [String].self).compactMap { UInt64($0) }
      readers[try row.get(1), default: []].append(
        Reader(id: try row.get(0), filter: WebhookFilter(patterns: try row.get(2)), news: Set(news)))
    }
    return events.enumerated().flatMap { place, event -> [WebhookDeliveryStore.New] in
      guard let project = event.projectID, let interested = readers[project] else { return [] }
      return interested.compactMap { reader in
        guard reader.news.contains(event.cursor.transaction), reader.filter.lets(event.kind) else { return nil }
        return WebhookDeliveryStore.New(
          id: id(place), webhook: reader.id, kind: event.kind, body: String(decoding: event.jsonBytes, as: UTF8.self))
      }
    }
  }
}
