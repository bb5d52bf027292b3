import AloftModel
import Foundation
import Postgres
import Testing

@testable import ControlPlane

@Suite("Work queue")
struct WorkQueueTests {
  @Test("a row that was woken during a run stays due; otherwise it goes")
  func wokenMeanwhile() async throws {
    try await TestPlane.with { test async throws in
      let id = UUID()
      let left = try await test.database.transaction { session -> [Int] in
        try WorkQueue.wake(.vm, id, in: session)
        let first = try #require(try WorkQueue.take([.vm], limit: 10, in: session).first)
        #expect(first.id == id)
        #expect(try WorkQueue.take([.vm], limit: 10, in: session).isEmpty, "it is held")
        try WorkQueue.wake(.vm, id, in: session)
        try WorkQueue.finish(first, next: nil, in: session)
        let second = try WorkQueue.take([.vm], limit: 10, in: session)
        try WorkQueue.finish(try #require(second.first), next: nil, in: session)
        return [second.count, try WorkQueue.take([.vm], limit: 10, in: session).count]
      }
      #expect(left == [1, 0])
      #expect(try await test.count("SELECT count(*) FROM work") == 0)
    }
  }

  @Test("a row that was put off is not due before its time, unless it is woken")
  func putOff() async throws {
    try await TestPlane.with { test async throws in
      let id = UUID()
      let taken = try await test.database.transaction { session -> [Int] in
        try WorkQueue.wake(.vm, id, in: session)
        let item = try #require(try WorkQueue.take([.vm], limit: 1, in: session).first)
        try WorkQueue.finish(item, next: Date().addingTimeInterval(3600), in: session)
        let before = try WorkQueue.take([.vm], limit: 1, in: session).count
        try WorkQueue.wake(.vm, id, in: session)
        return [before, try WorkQueue.take([.vm], limit: 1, in: session).count]
      }
      #expect(taken == [0, 1])
    }
  }

  @Test("a row whose worker died comes back when its lease ends; one that failed after a pause, with the error")
  func failures() async throws {
    try await TestPlane.with { test async throws in
      try await test.database.transaction { session in
        try WorkQueue.wake(.vm, UUID(), in: session)
        let item = try #require(try WorkQueue.take([.vm], limit: 1, in: session).first)
        _ = try session.execute("UPDATE work SET lease_until = aloft_now() - interval '1 second'")
        let again = try #require(try WorkQueue.take([.vm], limit: 1, in: session).first)
        #expect(again.id == item.id)
        #expect(again.attempts == 2)
        try WorkQueue.fail(again, error: "broken", pause: .seconds(60), in: session)
        #expect(try WorkQueue.take([.vm], limit: 1, in: session).isEmpty)
        #expect(try session.one("SELECT last_error FROM work")?.get(0, as: String.self) == "broken")
      }
    }
  }

  @Test("workers that take at once never take the same row")
  func shared() async throws {
    try await TestPlane.with(poolSize: 6) { test async throws in
      let database = test.database
      try await database.transaction { session in
        for _ in 0..<60 { try WorkQueue.wake(.vm, UUID(), in: session) }
      }
      let taken = try await withThrowingTaskGroup(of: [UUID].self) { group in
        for _ in 0..<12 {
          group.addTask {
            try await database.transaction { session in try WorkQueue.take([.vm], limit: 7, in: session).map(\.id) }
          }
        }
        return try await group.reduce(into: [UUID]()) { $0 += $1 }
      }
      #expect(Set(taken).count == taken.count)
      #expect(taken.count == 60)
    }
  }

  @Test("pauses between tries grow to a minute and no further")
  func backoff() {
    for attempt in 0...40 {
      for random in [UInt64.min, .max / 2, .max] {
        let pause = Backoff.pause(attempt: attempt, random: random)
        #expect(pause >= .milliseconds(125) && pause <= .seconds(60))
      }
    }
    #expect(Backoff.pause(attempt: 20, random: 0) == .seconds(30))
  }

  @Test("a topic reads as it travels")
  func topics() {
    for topic in [Topic.work, .events, .node(UUID()), .operation(UUID())] {
      #expect(Topic(payload: topic.payload) == topic)
    }
    for text in ["", "node", "node:", "node:x", "other", "operation:1"] { #expect(Topic(payload: text) == nil) }
  }
}
