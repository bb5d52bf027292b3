import AloftModel
import Foundation
import HTTP
import HTTPTypes
import JSON
import Postgres

/// The event stream, as Server-Sent Events (WHATWG HTML 9.2).
///
/// Invariants:
/// - Events come in one total order and none is skipped; the id of each is where to go on.
/// - What is not kept any more is refused, never skipped in silence.
/// - A stream ends when its replica is about to go down; the reader goes on at another.
/// - A reader sees the events of one project; those of nodes too if they may read nodes. A stream ends, cut off, when its
///   reader's token does not allow it any more.
/// - A reader that does not keep up is cut off by the server's write timeout; it resumes where it was.
struct EventHandlers: Sendable {
  static let pageSize = 500
  /// Looks again at least this often: an event becomes visible when every older transaction has ended, and nobody tells when.
  static let lookAgain = Duration.milliseconds(250)
  /// A comment that often keeps proxies and clients from giving up.
  static let heartbeatSeconds = 15.0

  let plane: Plane

  func register(in table: inout HandlerTable) {
    table.on("streamEvents", stream)
  }

  private func stream(_ call: Call) async throws -> Reply {
    let start: EventStore.Cursor?
    if let text = call.string("Last-Event-ID") {
      guard let cursor = EventStore.Cursor(text) else {
        throw Problem(
          .badCursor, "\(text) is no event id; pass the id of the last event that you have, or 0 for all",
          errors: [.init(code: .badCursor, detail: "not an event id", parameter: "Last-Event-ID")])
      }
      start = cursor
    } else {
      start = nil
    }
    let (project, first) = try await plane.database.run { session in
      if let start { try EventStore.require(start, in: session) }
      return (try ProjectStore.require(call, in: session), try start ?? EventStore.end(in: session))
    }
    // What is read is the project, whatever becomes of its name.
    let requirement = call.requirement.map {
      Authorizer.Requirement(
        permission: $0.permission, credentials: $0.credentials, project: project.description)
    }
    let follow = call.parameters["follow"]?.boolValue ?? true
    let plane = plane
    let scope = EventStore.Scope(project: project, nodes: call.principal.seesNodes)
    var reply = Reply(contentType: "text/event-stream")
    reply.headers[.cacheControl] = "no-store"
    reply.body = .stream { writer in
      try await Self.send(from: first, scope, follow: follow, requirement, plane: plane, to: writer)
    }
    return reply
  }

  private static func send(
    from first: EventStore.Cursor, _ firstScope: EventStore.Scope, follow: Bool, _ requirement: Authorizer.Requirement?,
    plane: Plane, to writer: BodyWriter
  ) async throws {
    var cursor = first
    var scope = firstScope
    var silentSince = plane.environment.uptime()
    var admittedAt = silentSince
    // The client has the head at once, and where to resume from before the first event.
    try await writer.write(position(cursor))
    while true {
      let ticket = plane.wakeups.ticket(.events)
      let after = cursor
      if plane.environment.uptime() - admittedAt >= TokenCache.lifetime {
        if let requirement { scope.nodes = try await plane.authorizer.admit(requirement).seesNodes }
        admittedAt = plane.environment.uptime()
      }
      let page = try await plane.database.run { [scope] session in
        try EventStore.after(after, scope, limit: pageSize, in: session)
      }
      if page.end != cursor {
        var bytes = page.records.flatMap { record in frame(record) }
        // Other projects' events are passed over for good: a quiet project's reader does not resume in front of them.
        if page.records.last?.cursor != page.end { bytes += position(page.end) }
        try await writer.write(bytes)
        cursor = page.end
        silentSince = plane.environment.uptime()
        continue
      }
      if !follow || plane.wakeups.isDraining { return }
      try Task.checkCancellation()
      await plane.wakeups.wait(for: .events, since: ticket, atMost: lookAgain)
      if plane.environment.uptime() - silentSince >= heartbeatSeconds {
        try await writer.write(": still here\n\n")
        silentSince = plane.environment.uptime()
      }
    }
  }

  /// No event, only where the reader stands. It carries data because many clients drop frames without.
  private static func position(_ cursor: EventStore.Cursor) -> [UInt8] {
    Array("id: \(cursor)\nevent: position\ndata: {}\n\n".utf8)
  }

  private static func frame(_ record: EventStore.Record) -> [UInt8] {
    Array("id: \(record.cursor)\nevent: \(record.kind)\ndata: ".utf8) + record.jsonBytes + Array("\n\n".utf8)
  }
}

extension Principal {
  /// Whether the caller sees events that are of no project.
  fileprivate var seesNodes: Bool { cloudRole?.holds(.nodeRead) == true }
}
