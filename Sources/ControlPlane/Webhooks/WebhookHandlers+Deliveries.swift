import AloftModel
import Foundation
import HTTPTypes
import JSON
import Postgres

/// The operations on deliveries.
extension WebhookHandlers {
  func deliveries(_ call: Call) async throws -> Reply {
    let cursor = try call.cursor()
    let state = call.string("state").flatMap { WebhookDeliveryState(rawValue: $0) }
    let records = try await plane.database.run { session in
      try WebhookDeliveryStore.page(
        of: try WebhookStore.require(call, in: session).id, state: state, before: cursor, limit: call.limit + 1,
        in: session)
    }
    return .page(records, limit: call.limit) { $0.id.uuid }
  }

  func delivery(_ call: Call) async throws -> Reply {
    let record = try await plane.database.run { session in
      try Self.find(call, of: try WebhookStore.require(call, in: session), in: session)
    }
    return .json(record)
  }

  /// Makes a delivery of an event that never happened.
  func ping(_ call: Call) async throws -> Reply {
    let id = WebhookDeliveryID(plane.environment.newUUID())
    let now = plane.environment.now()
    let reply = try await plane.change(call) { session in
      let webhook = try WebhookStore.lock(call, in: session)
      try Self.requireEnabled(webhook)
      let event = EventStore.Record(
        cursor: .oldest, at: now, kind: EventKind.webhookPing.rawValue, projectID: webhook.projectID,
        resourceID: webhook.id.uuid, data: ["name": webhook.name].jsonText)
      let delivery = WebhookDeliveryStore.New(
        id: id, webhook: webhook.id, kind: event.kind, body: String(decoding: event.jsonBytes, as: UTF8.self))
      try WebhookDeliveryStore.insert([delivery], in: session)
      return try Self.accepted(id, of: webhook, changing: webhook.id.uuid, call, in: session)
    }
    return await tried(call, reply)
  }

  func redeliver(_ call: Call) async throws -> Reply {
    let reply = try await plane.change(call) { session in
      let webhook = try WebhookStore.lock(call, in: session)
      try Self.requireEnabled(webhook)
      let delivery = try Self.find(call, of: webhook, in: session)
      try WebhookDeliveryStore.repeatNow(delivery.id, in: session)
      return try Self.accepted(delivery.id, of: webhook, changing: delivery.id.uuid, call, in: session)
    }
    return await tried(call, reply)
  }

  /// Honours `Prefer: wait`: 200 with the delivery once it has been tried, or the 202 when the time is over. The change is
  /// committed: whatever goes wrong while its outcome is waited for, the 202 is the truth.
  private func tried(_ call: Call, _ reply: Reply) async -> Reply {
    guard let wait = call.preferredWait, reply.status == .accepted, case .bytes(let bytes) = reply.body,
      let accepted = try? JSONValue.parse(bytes),
      let id = accepted["id"]?.stringValue.flatMap({ WebhookDeliveryID($0) }),
      let webhook = accepted["webhook_id"]?.stringValue.flatMap({ WebhookID($0) })
    else { return reply }
    let end = plane.environment.uptime() + Double(wait.components.seconds)
    while plane.environment.uptime() < end, !plane.wakeups.isDraining {
      do {
        let record = try await plane.database.run { session in
          try WebhookDeliveryStore.find(id, of: webhook, in: session)
        }
        guard let record else { return reply }
        if record.tries > 0 || record.state != .pending {
          var answer = Reply.json(record)
          answer.headers[header: "Preference-Applied"] = "wait=\(wait.components.seconds)"
          return answer
        }
        try await plane.environment.sleep(.milliseconds(100))
      } catch {
        return reply
      }
    }
    return reply
  }

  /// Whoever asks for a delivery wants to see it tried, whatever failed before.
  private static func accepted(
    _ id: WebhookDeliveryID, of webhook: WebhookRecord, changing resource: UUID, _ call: Call, in session: Session
  ) throws -> Changed {
    var health = webhook.health
    health.retryAt = nil
    try WebhookStore.write(health, of: webhook.id, in: session)
    try WorkQueue.wake(.webhook, webhook.id.uuid, in: session)
    guard let record = try WebhookDeliveryStore.find(id, of: webhook.id, in: session) else { throw absent("\(id)") }
    return Changed(
      reply: .json(record, status: call.isDryRun ? .ok : .accepted), effects: Effects(wake: [.webhooks]),
      resource: resource, project: webhook.projectID)
  }

  private static func find(
    _ call: Call, of webhook: WebhookRecord, in session: Session
  ) throws -> WebhookDeliveryRecord {
    let text = call.string("delivery") ?? ""
    guard let id = WebhookDeliveryID(text),
      let record = try WebhookDeliveryStore.find(id, of: webhook.id, in: session)
    else { throw absent(text) }
    return record
  }

  private static func requireEnabled(_ webhook: WebhookRecord) throws {
    guard webhook.enabled else {
      throw Problem(.wrongState, "webhook \(webhook.name) is not enabled; enable it first")
    }
  }

  private static func absent(_ delivery: String) -> Problem {
    Problem(
      .notFound,
      "the webhook has no delivery \(delivery); they are kept for \(WebhookDeliveryStore.keptDays) days, and its deliveries list them"
    )
  }
}
