import AloftModel
import Foundation
import JSON
import Postgres

/// A volume's way to another storage pool: the part of its row that rules look at.
struct VolumeMove: Sendable, Equatable {
  /// The name of the pool that it goes to.
  var target: String
  /// Why that was given up; nil: it was not.
  var problem: Observation.Problem?

  /// What is waited for.
  var reason: String {
    problem.map { "the move to pool \(target) was given up: \($0.detail)" } ?? "it is being moved to pool \(target)"
  }

  /// How a move has ended.
  enum End: Sendable, Equatable {
    /// The volume is in the new pool.
    case there
    /// It was given up, and nothing is left of it.
    case here(Observation.Problem)
  }

  /// How long a move may take, in seconds.
  static let seconds = 24 * 3600
  /// How long what keeps it from going on may stand before it is given up.
  private static let patience = 600.0

  /// Nil: it goes on. The agent alone knows, since it is who decides which of the two copies counts.
  static func end(_ facts: VolumeFacts) -> End? {
    guard let move = facts.move, !facts.intent.deleted, let seen = facts.observed, let pool = seen.pool,
      seen.generation >= facts.intent.generation, seen.state == .ready
    else { return nil }
    if pool == move.target { return .there }
    guard let problem = move.problem, pool == facts.pool else { return nil }
    return .here(problem)
  }

  /// Why it is to be given up now; nil: it is not.
  static func givingUp(_ facts: VolumeFacts, _ operation: OpenOperation, now: Date) -> Observation.Problem? {
    guard let move = facts.move, move.problem == nil, !facts.intent.deleted else { return nil }
    let seen = facts.observed.flatMap { $0.generation >= operation.generation ? $0.problem : nil }
    if now >= operation.deadline {
      return seen ?? Observation.Problem(code: .deadlineExceeded, detail: "it took longer than \(seconds / 3600) hours")
    }
    guard let seen else { return nil }
    return seen.code == .nodeDiskFull || now >= patienceEnds(operation) ? seen : nil
  }

  private static func patienceEnds(_ operation: OpenOperation) -> Date {
    operation.deadline.addingTimeInterval(patience - Double(seconds))
  }

  /// When to look again though nothing happens.
  static func nextLook(_ operation: OpenOperation, now: Date) -> Date {
    let end = patienceEnds(operation)
    return now < end ? end : operation.deadline
  }

  /// What becomes of the operation; nil: it goes on.
  static func outcome(of operation: OpenOperation, _ facts: VolumeFacts, now: Date) -> OperationOutcome? {
    switch end(facts) {
    case .there: return .succeeded
    case .here(let problem): return .failed(problem.code, problem.detail)
    case nil: break
    }
    guard facts.move != nil else { return .failed(.nodeRemoved, "its node was removed") }
    guard now >= operation.deadline else { return nil }
    let problem = facts.move?.problem ?? givingUp(facts, operation, now: now)
    return .failed(problem?.code ?? .deadlineExceeded, problem?.detail ?? "it took too long")
  }
}

extension VolumeMove {
  /// Reads three columns; nil: it stays where it is.
  init?(_ row: Row, from first: Int) throws {
    guard let target = try row.get(first, as: String?.self) else { return nil }
    let code = try row.get(first + 1, as: OperationFailure?.self)
    self.init(
      target: target,
      problem: try code.map { Observation.Problem(code: $0, detail: try row.get(first + 2, as: String?.self) ?? "") })
  }
}

/// A move as the API shows it.
struct MoveSummary: JSONWritable {
  var pool: String
  var observed: VolumeObserved?

  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("pool", pool)
      writer.field("bytes_done", observed?.bytesDone)
      writer.field("bytes_total", observed?.bytesTotal)
    }
  }
}
