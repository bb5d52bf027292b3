import Foundation
import Postgres
import TestSupport
import Testing

@testable import ControlPlane

@Suite("Wake-ups")
struct WakeupTests {
  private func wakeups(_ test: TestPlane) -> Wakeups {
    Wakeups(database: test.database, environment: .live, logger: quiet)
  }

  /// Runs `body` with two replicas that listen to each other.
  private func withReplicas(_ body: @escaping (TestPlane, Wakeups, Wakeups) async throws -> Void) async throws {
    try await TestPlane.with { test async throws in
      let (a, b) = (wakeups(test), wakeups(test))
      let listening = [Task { await a.listen() }, Task { await b.listen() }]
      // Both hear the other: LISTEN is in force.
      for (from, to) in [(a, b), (b, a)] {
        let topic = Topic.node(UUID())
        try await eventually("one hears the other") {
          let ticket = to.ticket(topic)
          from.signal([topic])
          await to.wait(for: topic, since: ticket, atMost: .milliseconds(50))
          return to.ticket(topic) != ticket
        }
      }
      try await body(test, a, b)
      for task in listening { task.cancel() }
    }
  }

  @Test("a wait ends when its time is over, and leaves nothing behind")
  func timer() async throws {
    try await TestPlane.with { test async throws in
      let wakeups = wakeups(test)
      let ticket = wakeups.ticket(.work)
      await wakeups.wait(for: .work, since: ticket, atMost: .milliseconds(1))
      #expect(wakeups.ticket(.work) == ticket, "nobody has woken it")
      #expect(wakeups.waiting == 0)
    }
  }

  @Test("what happens between the ticket and the wait is not missed")
  func ticket() async throws {
    try await TestPlane.with { test async throws in
      let wakeups = wakeups(test)
      let ticket = wakeups.ticket(.work)
      wakeups.signal([.work])
      await wakeups.wait(for: .work, since: ticket, atMost: .seconds(3600))
      #expect(wakeups.waiting == 0)
    }
  }

  @Test("a wait that is cancelled ends")
  func cancelled() async throws {
    try await TestPlane.with { test async throws in
      let wakeups = wakeups(test)
      let wait = Task { await wakeups.wait(for: .work, since: wakeups.ticket(.work), atMost: .seconds(3600)) }
      try await eventually("it waits") { wakeups.waiting == 1 }
      wait.cancel()
      await wait.value
      #expect(wakeups.waiting == 0)
    }
  }

  @Test("a signal wakes whoever waits on another replica")
  func otherReplica() async throws {
    try await withReplicas { _, a, b in
      let topic = Topic.operation(UUID())
      let ticket = b.ticket(topic)
      async let wait: Void = b.wait(for: topic, since: ticket, atMost: .seconds(3600))
      a.signal([topic])
      await wait
      #expect(b.ticket(topic) != ticket)
    }
  }

  @Test("a replica's own notification does not wake it a second time")
  func ownNotification() async throws {
    try await withReplicas { test, a, b in
      let (mine, theirs) = (Topic.operation(UUID()), Topic.operation(UUID()))
      a.signal([mine])
      let after = a.ticket(mine)
      let ticket = a.ticket(theirs)
      try await eventually("the other replica has heard it") { b.ticket(mine) != wakeups(test).ticket(mine) }
      // Notifications come in order: what comes behind the own one has come.
      b.signal([theirs])
      await a.wait(for: theirs, since: ticket, atMost: .seconds(3600))
      #expect(a.ticket(mine) == after)
    }
  }
}
