import Execution
import Foundation
import Logging
import Postgres

/// The authorities as this replica knows them, and the progress of a rotation.
///
/// Every replica reads them every two seconds, and any of them takes the steps of a rotation: one transaction each, decided
/// (``AuthorityRotation``) on what that transaction reads. What is signed, is signed by what the signing transaction finds
/// active: no replica goes on with an authority that was replaced.
final class Authorities: Sendable {
  static let tick = Duration.seconds(2)
  /// How old the picture may be where nothing refreshes it; see ``run()``.
  private static let lifetime: TimeInterval = 10

  private struct Known {
    var set: AuthoritySet
    var records: [AuthorityRecord]
    var at: TimeInterval
  }

  private let known = Lock<Known?>(nil)
  private let database: Database
  private let sealing: SealingKey
  private let environment: Environment
  private let logger: Logger

  init(database: Database, sealing: SealingKey, environment: Environment, logger: Logger) {
    self.database = database
    self.sealing = sealing
    self.environment = environment
    self.logger = logger
  }

  /// The authorities, as they were a few seconds ago at the earliest.
  func current() async throws -> AuthoritySet {
    if let known = known.withLock({ $0 }), environment.uptime() - known.at < Self.lifetime { return known.set }
    return try take(try await database.run { session in try AuthorityStore.all(in: session) })
  }

  /// The authorities within a transaction that signs: nobody replaces the active one before it ends.
  func signing(in session: Session) throws -> AuthoritySet {
    let active = try session.one("SELECT fingerprint FROM authorities WHERE state = 'active' FOR SHARE")
    if let known = known.withLock({ $0?.set }),
      try active?.get(0, as: String.self) == known.signer.certificate.fingerprint
    {
      return known
    }
    return try take(try AuthorityStore.all(in: session))
  }

  /// Reads the authorities anew, and takes the next step of a rotation if it is due.
  func step() async throws {
    let records = try await database.run { session in try AuthorityStore.all(in: session) }
    _ = try take(records)
    guard records.contains(where: { $0.state == .next || $0.state == .retiring }) else { return }
    let answer = try await database.transaction { session in try Self.advance(forced: false, in: session) }
    logger.debug("authorities", metadata: ["rotation": "\(answer)"])
    guard case .take(let step) = answer else { return }
    switch step {
    case .activate(let id, _): logger.notice("another authority signs now", metadata: ["authority": "\(id)"])
    case .retire(let id): logger.notice("an authority was retired", metadata: ["authority": "\(id)"])
    }
    _ = try take(try await database.run { session in try AuthorityStore.all(in: session) })
  }

  /// Takes a step if one is due, in a transaction of its own. Returns what was decided.
  static func advance(forced: Bool, in session: Session) throws -> AuthorityRotation.Answer {
    try AuthorityStore.lockAll(in: session)
    let answer = try AuthorityStore.rotation(in: session).answer(forced: forced)
    if case .take(let step) = answer { try AuthorityStore.take(step, in: session) }
    return answer
  }

  /// Runs until cancelled.
  func run() async {
    await environment.repeating(every: Self.tick, orWarn: "the authorities could not be read", logger) {
      try await step()
    }
  }

  private func take(_ records: [AuthorityRecord]) throws -> AuthoritySet {
    let now = environment.uptime()
    let same = known.withLock { known -> AuthoritySet? in
      guard let before = known, before.records.map(Self.version) == records.map(Self.version) else { return nil }
      known?.at = now
      return before.set
    }
    if let same { return same }
    let set = try AuthoritySet(records, sealing: sealing)
    known.withLock { $0 = Known(set: set, records: records, at: now) }
    return set
  }

  private static func version(_ record: AuthorityRecord) -> [String] { [record.fingerprint, record.state.rawValue] }
}
