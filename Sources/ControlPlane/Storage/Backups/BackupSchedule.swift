import AloftModel
import Foundation
import JSON
import Postgres

/// When a volume is backed up by itself.
struct BackupScheduleRecord: Sendable, JSONWritable {
  var volume: VolumeID
  var intervalHours: Int
  /// How many of those that it made are kept.
  var keep: Int
  var nextAt: Date
  /// Why the last round brought nothing.
  var problem: String?
  var author: OperationStore.Author

  private static let columns: SQL = "volume_id, interval_hours, keep, next_at, problem, actor, request_id"

  private init(_ row: Row) throws {
    volume = try row.get(0)
    intervalHours = try row.get(1)
    keep = try row.get(2)
    nextAt = try row.get(3)
    problem = try row.get(4)
    author = .init(actor: try row.get(5), requestID: try row.get(6))
  }

  static func find(_ volume: VolumeID, in session: Session) throws -> BackupScheduleRecord? {
    try session.one("SELECT \(fragment: columns) FROM backup_schedules WHERE volume_id = \(volume)").map {
      try BackupScheduleRecord($0)
    }
  }

  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("volume_id", volume)
      writer.field("interval_hours", intervalHours)
      writer.field("keep", keep)
      writer.field("next_at", nextAt)
      writer.field("problem", problem)
    }
  }
}

/// What to do about a schedule now.
struct BackupScheduleDecision: Sendable, Equatable {
  /// A backup that a schedule has made.
  struct Made: Sendable, Equatable {
    var id: BackupID
    var state: BackupState
    /// Something is restored from it, or built on it.
    var isUsed: Bool
  }

  /// A backup is to be made.
  var isDue = false
  /// The one that is to be deleted next.
  var doomed: BackupID?
  /// When the round behind this one is.
  var next: Date

  /// Invariants:
  /// - Rounds that were missed are not made up for.
  /// - The newest `keep` that can be restored stay; others go, and failed ones as soon as there is a newer one.
  ///
  /// - Parameter made: newest first.
  static func of(
    at due: Date, every interval: TimeInterval, keep: Int, _ made: [Made], now: Date
  ) -> BackupScheduleDecision {
    let missed = max(0, (now.timeIntervalSince(due) / interval).rounded(.down))
    var decision = BackupScheduleDecision(next: due.addingTimeInterval((missed + 1) * interval))
    let isBusy = made.contains { $0.state == .creating }
    decision.isDue = now >= due && !isBusy
    if now < due { decision.next = due }
    var kept = 0
    for (index, backup) in made.enumerated() {
      switch backup.state {
      case .creating: continue
      case .available: kept += 1
      case .damaged: break
      case .failed: if index == 0 { continue }
      }
      let isNeeded = backup.state == .failed ? false : kept <= keep
      if !isNeeded, !backup.isUsed { decision.doomed = backup.id }
    }
    return decision
  }
}

/// Makes backups when their schedules say so, and deletes those that have had their time: one thing at a time.
struct BackupScheduleReconciler: Reconciler {
  /// Seconds between two looks while somebody else backs the volume up, or nothing came of a round.
  private static let pause: TimeInterval = 60

  let environment: Environment
  let sealing: SealingKey

  func reconcile(_ id: UUID, in session: Session, effects: inout Effects) throws -> Date? {
    let id = VolumeID(id)
    guard let (volume, answers) = try VolumeStore.lock(id, and: ["SELECT aloft_now()"], in: session),
      let schedule = try BackupScheduleRecord.find(id, in: session),
      let now = try answers[0].first?.get(0, as: Date.self), !volume.facts.intent.deleted
    else { return nil }
    let made = try session.query(
      """
      SELECT id, state, EXISTS (SELECT 1 FROM volumes WHERE source_backup_id = b.id OR base_backup_id = b.id)
                        OR EXISTS (SELECT 1 FROM backups l WHERE l.earlier_id = b.id)
        FROM backups b WHERE volume_id = \(id) AND project_id = \(volume.project) AND scheduled AND deleted_at IS NULL
       ORDER BY id DESC
      """
    ).map { BackupScheduleDecision.Made(id: try $0.get(0), state: try $0.get(1), isUsed: try $0.get(2)) }
    let decision = BackupScheduleDecision.of(
      at: schedule.nextAt, every: Double(schedule.intervalHours) * 3600, keep: schedule.keep, made, now: now)
    if decision.isDue {
      let problem = try begin(schedule, volume, now, in: session, &effects)
      try session.execute(
        """
        UPDATE backup_schedules SET next_at = \(decision.next), problem = \(problem), updated_at = aloft_now()
         WHERE volume_id = \(id)
        """)
      // What has had its time goes next; its room may be what was missing.
      return now.addingTimeInterval(decision.doomed == nil ? Self.pause : 0)
    }
    if let doomed = decision.doomed {
      try VolumeStore.hold([id.uuid], and: nil, in: session)
      guard let backup = try ResourceStore<BackupRecord>.lock(doomed, to: .delete, in: session) else { return now }
      try BackupStore.delete(backup, in: session, &effects)
      return now
    }
    return max(decision.next, now.addingTimeInterval(Self.pause))
  }

  /// Returns why nothing came of it; nil: it was begun.
  private func begin(
    _ schedule: BackupScheduleRecord, _ volume: VolumeRecord, _ now: Date, in session: Session, _ effects: inout Effects
  ) throws -> String? {
    let wish = BackupStore.Wish(
      id: BackupID(environment.newUUID()), snapshot: SnapshotID(environment.newUUID()),
      operation: OperationID(environment.newUUID()), name: Self.name(of: volume.name, now), labels: "{}", full: false,
      isScheduled: true)
    do {
      let wake = try session.savepoint {
        try BackupHandlers.requireFit(volume)
        return try BackupStore.begin(wish, of: volume, sealing: sealing, author: schedule.author, in: session)
      }
      effects.wake.formUnion(wake.union([.images, .events]))
      return nil
    } catch {
      let problem = Problem.of(error)
      guard problem.status < 500 else { throw error }
      return problem.detail
    }
  }

  /// `data-20260131-235959`, in UTC.
  static func name(of volume: String, _ now: Date) -> String {
    var parts = tm()
    var seconds = time_t(now.timeIntervalSince1970)
    gmtime_r(&seconds, &parts)
    func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
    let day = "\(parts.tm_year + 1900)\(two(parts.tm_mon + 1))\(two(parts.tm_mday))"
    var stem = volume.prefix(46)
    while stem.hasSuffix("-") { stem = stem.dropLast() }
    return "\(stem)-\(day)-\(two(parts.tm_hour))\(two(parts.tm_min))\(two(parts.tm_sec))"
  }
}

/// The operations on schedules.
struct BackupScheduleHandlers: Sendable {
  let plane: Plane

  func register(in table: inout HandlerTable) {
    table.on("getBackupSchedule", get)
    table.on("setBackupSchedule", set)
    table.on("deleteBackupSchedule", delete)
  }

  private func get(_ call: Call) async throws -> Reply {
    let schedule = try await plane.database.run { session in
      let volume = try VolumeHandlers.Store.require(call, in: session)
      guard let schedule = try BackupScheduleRecord.find(volume.id, in: session) else { throw Self.absent(volume) }
      return schedule
    }
    return .json(schedule)
  }

  private struct Body: Decodable {
    var intervalHours: Int
    var keep: Int
  }

  private func set(_ call: Call) async throws -> Reply {
    let body = try call.decode(Body.self)
    return try await change(call) { volume, session in
      try BackupHandlers.requireFit(volume)
      try session.execute(
        """
        INSERT INTO backup_schedules (volume_id, interval_hours, keep, next_at, actor, request_id)
        VALUES (\(volume.id), \(body.intervalHours)::integer, \(body.keep)::integer, aloft_now(), \(call.author.actor),
                \(call.author.requestID))
        ON CONFLICT (volume_id) DO UPDATE
           SET interval_hours = excluded.interval_hours, keep = excluded.keep, problem = NULL, actor = excluded.actor,
               request_id = excluded.request_id, updated_at = aloft_now(),
               next_at = least(backup_schedules.next_at, aloft_now() + make_interval(hours => excluded.interval_hours))
        """)
      guard let schedule = try BackupScheduleRecord.find(volume.id, in: session) else { throw Self.absent(volume) }
      try WorkQueue.wake(.backupSchedule, volume.id.uuid, in: session)
      return .json(schedule)
    }
  }

  private func delete(_ call: Call) async throws -> Reply {
    try await change(call) { volume, session in
      try call.requireMatch(volume.etag)
      let count = try session.execute("DELETE FROM backup_schedules WHERE volume_id = \(volume.id)")
      if count == 0 { throw Self.absent(volume) }
      return .noContent
    }
  }

  private func change(
    _ call: Call, _ body: @escaping @Sendable (VolumeRecord, Session) throws -> Reply
  ) async throws -> Reply {
    try await plane.change(call) { session in
      let found = try VolumeHandlers.Store.require(call, in: session)
      guard let (volume, _) = try VolumeStore.lock(found.id, in: session) else {
        throw VolumeHandlers.Store.absent(found.name)
      }
      let reply = try body(volume, session)
      try EventStore.append(
        .volumeUpdated, project: volume.project, resource: volume.id.uuid, data: ["name": volume.name], in: session)
      return Changed(
        reply: reply, effects: Effects(wake: [.work, .events]), resource: volume.id.uuid, project: volume.project)
    }
  }

  private static func absent(_ volume: VolumeRecord) -> Problem {
    Problem(
      .notFound,
      "volume \(volume.name) is not backed up by itself; PUT /v1/volumes/\(volume.name)/backup-schedule has it done")
  }
}
