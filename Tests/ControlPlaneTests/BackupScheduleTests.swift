import AloftModel
import Foundation
import JSON
import Testing

@testable import ControlPlane

@Suite("Schedules of backups")
struct BackupScheduleTests {
  private static let start = Date(timeIntervalSince1970: 1_700_000_000)
  private static let ids = (0..<6).map { _ in BackupID(UUID()) }

  /// Newest first.
  private func decide(_ states: [BackupState], keep: Int = 2, used: Set<Int> = [], after seconds: TimeInterval)
    -> BackupScheduleDecision
  {
    let made = states.enumerated().map { index, state in
      BackupScheduleDecision.Made(id: Self.ids[index], state: state, isUsed: used.contains(index))
    }
    return .of(at: Self.start, every: 3600, keep: keep, made, now: Self.start.addingTimeInterval(seconds))
  }

  @Test("it is due at its time, once however many rounds were missed, and not while one is being made")
  func due() {
    #expect(decide([], after: -1) == .init(isDue: false, next: Self.start))
    #expect(decide([.available], after: 0) == .init(isDue: true, next: Self.start.addingTimeInterval(3600)))
    #expect(decide([], after: 9000) == .init(isDue: true, next: Self.start.addingTimeInterval(10800)))
    #expect(!decide([.creating], after: 0).isDue)
  }

  @Test("the newest that can be restored are kept; failed ones go as soon as there is a newer one")
  func retention() {
    let cases: [([BackupState], Set<Int>, Int?)] = [
      ([.available, .available], [], nil), ([.available, .available, .available], [], 2),
      ([.available, .available, .available], [2], nil), ([.failed], [], nil), ([.available, .failed], [], 1),
      ([.failed, .available, .available], [], nil), ([.creating, .available, .available, .available], [], 3),
      ([.available, .damaged, .available], [], nil), ([.available, .available, .damaged, .available], [], 3),
      ([.creating, .failed, .available], [], 1),
    ]
    for (states, used, doomed) in cases {
      #expect(decide(states, used: used, after: -1).doomed == doomed.map { Self.ids[$0] }, "\(states)")
    }
  }

  @Test("names of backups are names")
  func names() {
    #expect(BackupScheduleReconciler.name(of: "data", Self.start) == "data-20231114-221320")
    let long = String(repeating: "a", count: 45) + "-" + String(repeating: "b", count: 17)
    let name = BackupScheduleReconciler.name(of: long, Self.start)
    #expect(name == String(repeating: "a", count: 45) + "-20231114-221320" && name.utf8.count <= 63)
  }

  @Test("a volume with a schedule is backed up at once and again behind the interval; what has had its time goes")
  func whole() async throws {
    try await TestPlane.with { test async throws in
      let agent = try await FakeAgent.join(test)
      _ = await test.call(.post, "/v1/volumes", ["name": "data", "size_gib": 1])
      try await agent.obey()
      try await test.settle()
      let path = "/v1/volumes/data/backup-schedule"
      #expect(await test.call(.get, path).status == 404)
      #expect(await test.call(.put, path, ["interval_hours": 0, "keep": 1]).place == "/interval_hours")
      let set = await test.call(.put, path, ["interval_hours": 24, "keep": 1])
      #expect(set.status == 200 && set["keep"] == 1 && set["problem"] == .null, "\(set)")
      for round in 1...2 {
        try await makeDue(test)
        let made = try #require(
          await test.call(.get, "/v1/backups")["items"]?.arrayValue?.last, "round \(round)")
        #expect(made["state"] == "creating" && made["scheduled"] == true, "\(made)")
        let id = try #require(made["id"]?.stringValue.flatMap { BackupID($0) })
        try await agent.obey()
        let manifest = BackupManifest(sizeBytes: 1 << 30, chunkBytes: 1 << 20, reading: .full)
        #expect(await agent.send(.put, "backups/\(id)/manifest", bytes: manifest.text).status == 204)
        try await wake(test)
        // Names tell the second.
        try await test.database.execute("UPDATE backups SET name = 'round-' || id")
      }
      #expect(await test.call(.get, "/v1/backups")["items"]?.arrayValue?.count == 1, "one is kept")

      _ = await test.call(.put, "/v1/projects/default/quotas", ["backups": 1])
      try await makeDue(test)
      let problem = await test.call(.get, path)["problem"]?.stringValue
      #expect(problem?.contains("backups") == true, "\(problem ?? "nil")")
      #expect(await test.call(.delete, path).status == 204)
      try await makeDue(test)
      for _ in 0..<3 {
        try await test.database.execute("UPDATE work SET due_at = aloft_now() WHERE kind = 'backup'")
        _ = try await test.plane.stepImages()
      }
      try await agent.obey()
      try await test.settle()
      #expect(try await test.findings() == [])
    }
  }

  private func makeDue(_ test: TestPlane) async throws {
    try await test.database.execute("UPDATE backup_schedules SET next_at = aloft_now()")
    try await wake(test)
  }

  private func wake(_ test: TestPlane) async throws {
    for _ in 0..<4 {
      try await test.database.execute("UPDATE work SET due_at = aloft_now() WHERE kind = 'backup_schedule'")
      try await test.settle()
    }
  }
}
