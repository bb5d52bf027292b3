import AloftModel
import Execution
import Foundation
import Postgres
import TestSupport
import Testing

@testable import ControlPlane

@Suite("Webhooks: from events to deliveries")
struct WebhookDispatcherTests {
  private struct Broken: Error {}

  /// A webhook without the API, in a project of its own.
  private func insertWebhook(_ project: ProjectID, in database: Database) async throws -> WebhookID {
    let id = WebhookID(UUID())
    try await database.transaction { session in
      try ProjectStore.insert(project, name: "p-" + project.uuid.uuidString.lowercased(), in: session)
      try WebhookStore.insert(
        id, project: project, name: "hook", url: "https://host.example/", events: ["vm.*"], labels: "{}", enabled: true,
        sealedSecret: [0], in: session)
    }
    return id
  }

  private func dispatcher(_ database: Database) -> WebhookDispatcher {
    WebhookDispatcher(
      database: database, wakeups: Wakeups(database: database, environment: .live, logger: quiet), environment: .live,
      logger: quiet)
  }

  /// On a server of its own: a reader waits for every older transaction of the whole server, other tests' too.
  @Test("every event of concurrent writers becomes one delivery for each webhook, however many dispatchers there are")
  func exactlyOnce() async throws {
    try await TestPlane.withOwnServer { database async throws in
      let (mine, others) = (ProjectID(UUID()), ProjectID(UUID()))
      let hooks = [try await insertWebhook(mine, in: database), try await insertWebhook(others, in: database)]
      let (writers, each) = (6, 25)
      let isWriting = Lock(true)
      async let dispatching: Void = withThrowingTaskGroup(of: Void.self) { group in
        for _ in 0..<3 {
          group.addTask {
            let dispatcher = dispatcher(database)
            var rest = true
            while rest {
              let last = !isWriting.withLock { $0 }
              let passed = try await dispatcher.step()
              // Another one may hold the cursor, and older transactions the events.
              rest = !last || passed != .passed(0)
              try await Task.sleep(for: .milliseconds(1))
            }
          }
        }
        try await group.waitForAll()
      }
      try await withThrowingTaskGroup(of: Void.self) { group in
        for writer in 0..<writers {
          group.addTask {
            for number in 0..<each {
              try? await database.transaction { session in
                for kind in [EventKind.vmUpdated, .imageUpdated] {
                  try EventStore.append(
                    kind, project: writer % 2 == 0 ? mine : others, resource: UUID(), data: ["number": "\(number)"],
                    in: session)
                }
                // Commits in another order than the numbers were taken; some not at all.
                _ = try session.query("SELECT pg_sleep(random() * 0.004)")
                if number % 5 == 0 { throw Broken() }
              }
            }
          }
        }
        try await group.waitForAll()
      }
      isWriting.withLock { $0 = false }
      try await dispatching
      for (project, hook) in [(mine, hooks[0]), (others, hooks[1])] {
        let events = try await database.query(
          "SELECT xid::text || '-' || seq FROM events WHERE project_id = \(project) AND kind = 'vm.updated' ORDER BY xid, seq"
        ).map { try $0.get(0, as: String.self) }
        let sent = try await database.query(
          """
          SELECT body::jsonb ->> 'cursor', body::jsonb ->> 'project_id' FROM webhook_deliveries
           WHERE webhook_id = \(hook) ORDER BY split_part(body::jsonb ->> 'cursor', '-', 1)::bigint,
                                                split_part(body::jsonb ->> 'cursor', '-', 2)::bigint
          """)
        #expect(events.count == writers / 2 * each * 4 / 5)
        #expect(try sent.map { try $0.get(0, as: String.self) } == events)
        #expect(try sent.allSatisfy { try $0.get(1, as: String.self) == project.description })
      }
    }
  }

  @Test("a webhook that is made beside a transaction gets what that commits later, and not what was there before")
  func beside() async throws {
    try await TestPlane.with(poolSize: 4) { test async throws in
      let project = try #require(try await test.database.one("SELECT id FROM projects WHERE name = 'default'"))
      let id: ProjectID = try project.get(0)
      @Sendable func append(_ name: String, in session: Session) throws {
        try EventStore.append(.vmUpdated, project: id, resource: UUID(), data: ["name": name], in: session)
      }
      try await test.database.transaction { session in try append("before", in: session) }
      let began = AsyncStream<Void>.makeStream()
      let release = DispatchSemaphore(value: 0)
      let writer = Task {
        try await test.database.transaction { session in
          try append("beside", in: session)
          began.continuation.finish()
          // The transaction's own thread waits.
          release.wait()
        }
      }
      for await _ in began.stream {}
      try await test.makeWebhook(to: "https://host.example/", events: ["vm.*"])
      try await test.plane.stepWebhookDispatcher()
      release.signal()
      try await writer.value
      try await test.database.transaction { session in try append("behind", in: session) }
      let names = try await test.deliveries(atLeast: 2).map { $0["event"]?["data"]?["name"]?.stringValue }
      #expect(names == ["beside", "behind"])
    }
  }
}
