import AloftModel
import Foundation
import HTTPClient
import HTTPTypes
import JSON
import Postgres

/// The operations on webhooks.
///
/// Invariants:
/// - A secret leaves Aloft in the answer that made it, and never again; it lies sealed in the database.
/// - A URL that can be seen to be refused is refused here; where its name leads is judged whenever something is sent.
struct WebhookHandlers: Sendable {
  let plane: Plane

  func register(in table: inout HandlerTable) {
    table.on("listWebhooks", list)
    table.on("createWebhook", create)
    table.on("getWebhook", get)
    table.on("updateWebhook", update)
    table.on("deleteWebhook", delete)
    table.on("rotateWebhookSecret", rotate)
    table.on("pingWebhook", ping)
    table.on("listWebhookDeliveries", deliveries)
    table.on("getWebhookDelivery", delivery)
    table.on("redeliverWebhookDelivery", redeliver)
  }

  private struct CreateBody: Decodable {
    var name: String
    var url: String
    var events: [String]?
    var labels: [String: String]?
    var enabled: Bool?
  }

  private struct UpdateBody: Decodable {
    var name: String?
    var url: String?
    var events: [String]?
    var labels: [String: String]?
    var enabled: Bool?
  }

  private struct RotateBody: Decodable { var overlapSeconds: Int? }

  private func list(_ call: Call) async throws -> Reply {
    let cursor = try call.cursor()
    let records = try await plane.database.run { session in
      try WebhookStore.page(
        project: try ProjectStore.require(call, in: session), name: call.string("name"), labels: call.labelFilters(),
        after: cursor, limit: call.limit + 1, in: session)
    }
    return .page(records, limit: call.limit) { $0.id.uuid }
  }

  private func get(_ call: Call) async throws -> Reply {
    let record = try await plane.database.run { session in try WebhookStore.require(call, in: session) }
    return .json(record, etag: record.etag)
  }

  private func create(_ call: Call) async throws -> Reply {
    let body = try call.decode(CreateBody.self)
    try check(url: body.url, events: body.events)
    let id = WebhookID(plane.environment.newUUID())
    let secret = WebhookSecret.make(plane.environment)
    let sealed = try plane.sealing.seal(secret, of: id)
    return try await plane.change(call) { session in
      // One at a time, so that the limit holds.
      let project = try ProjectStore.lock(call, to: .members, in: session).id
      guard try WebhookStore.count(in: project, in: session) < WebhookStore.mostInProject else {
        throw Problem(
          .limitReached, "a project has at most \(WebhookStore.mostInProject) webhooks; delete one that is not needed")
      }
      try WebhookStore.insert(
        id, project: project, name: body.name, url: body.url, events: body.events ?? [WebhookFilter.everything],
        labels: (body.labels ?? [:]).jsonText, enabled: body.enabled ?? true, sealedSecret: sealed, in: session)
      try EventStore.append(
        .webhookCreated, project: project, resource: id.uuid, data: ["name": body.name], in: session)
      var changed = try changed(id, status: call.isDryRun ? .ok : .created, showing: secret, in: session)
      changed.reply.headers[.location] = "/v1/webhooks/\(id)"
      return changed
    }
  }

  private func update(_ call: Call) async throws -> Reply {
    let body = try call.decode(UpdateBody.self)
    try check(url: body.url, events: body.events)
    return try await plane.change(call) { session in
      let webhook = try WebhookStore.lock(call, in: session)
      try call.requireMatch(webhook.etag)
      try WebhookStore.update(
        webhook.id, name: body.name, url: body.url, events: body.events, labels: body.labels?.jsonText, in: session)
      if let url = body.url, url != webhook.url { try WebhookStore.forgetHealth(webhook.id, in: session) }
      switch body.enabled {
      case true? where !webhook.enabled: try WebhookStore.enable(webhook.id, in: session)
      case false? where webhook.enabled: try WebhookStore.disable(webhook.id, because: .user, in: session)
      default: break
      }
      // What had waited may go on.
      try WorkQueue.wake(.webhook, webhook.id.uuid, in: session)
      var data = ["name": body.name ?? webhook.name]
      if let enabled = body.enabled, enabled != webhook.enabled { data["enabled"] = "\(enabled)" }
      try EventStore.append(
        .webhookUpdated, project: webhook.projectID, resource: webhook.id.uuid, data: data, in: session)
      return try changed(webhook.id, in: session)
    }
  }

  private func delete(_ call: Call) async throws -> Reply {
    try await plane.change(call) { session in
      let webhook = try WebhookStore.lock(call, in: session)
      try call.requireMatch(webhook.etag)
      try WebhookStore.delete(webhook.id, in: session)
      try EventStore.append(
        .webhookDeleted, project: webhook.projectID, resource: webhook.id.uuid, data: ["name": webhook.name],
        in: session)
      return Changed(
        reply: .noContent, effects: Effects(wake: [.events]), resource: webhook.id.uuid, project: webhook.projectID)
    }
  }

  private func rotate(_ call: Call) async throws -> Reply {
    let body = try call.decode(RotateBody.self)
    let secret = WebhookSecret.make(plane.environment)
    return try await plane.change(call) { session in
      let webhook = try WebhookStore.lock(call, in: session)
      try WebhookStore.rotate(
        webhook.id, to: try plane.sealing.seal(secret, of: webhook.id),
        overlapSeconds: body.overlapSeconds ?? 86_400, in: session)
      try EventStore.append(
        .webhookSecretRotated, project: webhook.projectID, resource: webhook.id.uuid, data: ["name": webhook.name],
        in: session)
      return try changed(webhook.id, showing: secret, in: session)
    }
  }

  /// Refuses what can never work.
  private func check(url: String?, events: [String]?) throws {
    if let events, let index = WebhookFilter(patterns: events).firstUnknown {
      throw Problem(
        .notOneOf,
        "no event is of the kind \(events[index]); the contract lists the kinds (EventKind), and vm.* or * are good",
        errors: [.init(code: .notOneOf, detail: "fits no kind of event", pointer: "/events/\(index)")])
    }
    guard let url else { return }
    switch plane.outgoing.refusal(of: url) {
    case nil: return
    case .malformed(let why):
      throw Problem(.badFormat, why, errors: [.init(code: .badFormat, detail: why, pointer: "/url")])
    case .notEncrypted:
      throw Self.refused("the operator of this cloud allows https only")
    case .address(let refusal):
      throw Self.refused("the host's address is not public (\(refusal.summary)), and the operator does not allow it")
    }
  }

  private static func refused(_ why: String) -> Problem {
    Problem(.urlRefused, "\(why); use another URL", errors: [.init(code: .urlRefused, detail: why, pointer: "/url")])
  }

  private func changed(
    _ id: WebhookID, status: HTTPResponse.Status = .ok, showing secret: WebhookSecret? = nil, in session: Session
  ) throws -> Changed {
    guard var record = try WebhookStore.find(id, in: session) else { throw WebhookStore.absent("\(id)") }
    record.secret = secret
    return Changed(
      reply: .json(record, status: status, etag: record.etag), effects: Effects(wake: [.events, .webhooks]),
      resource: id.uuid, project: record.projectID)
  }
}
