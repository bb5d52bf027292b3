import Foundation
import Logging
import OVSDB

extension NorthboundWriter {
  /// What ``replaceAll(_:)`` has done.
  public struct Summary: Sendable, Hashable {
    /// How many operations were written; none when everything was as it is wanted.
    public var operations = 0
    public var transactions = 0
    /// What the server did not take, and why. The rest is written.
    public var refusals: [String] = []
    /// The objects that are not as they are wanted by that, and why.
    public var refused: [NetworkModel.ObjectID: String] = [:]
  }

  /// Makes everything as the model wants it: what differs is written, in several transactions if it is much, and what is ours and
  /// not wanted goes. From then on ``apply(_:)`` can be used.
  ///
  /// Throws `notWriter` without a term, and every other error that ends it.
  @discardableResult
  public func replaceAll(_ model: NetworkModel) async throws(NorthboundError) -> Summary {
    try await inTurn { (writer) async throws(NorthboundError) -> Summary in
      let mark = try writer.currentTerm().mark
      let state = NorthboundState(model)
      writer.term?.state = state
      var summary = Summary()
      // What somebody changes meanwhile is found by another look; what is refused stays different.
      for _ in 0..<3 {
        let keys = Set(state.desired.keys).union(writer.replica.snapshot.ownedKeys)
        let done = try await writer.carryOut(keys, of: state.desired, mark, operationsAtOnce: writer.operationsAtOnce)
        summary.operations += done.operations
        summary.transactions += done.transactions
        summary.refusals = done.refusals
        summary.refused = done.refused
        if done.operations == 0 { break }
      }
      writer.watchRows(mark)
      return summary
    }
  }

  /// Changes the model and writes what that changes, in one transaction. Returns when it is written; what makes no difference
  /// costs nothing.
  ///
  /// Returns the objects whose rows the server does not take as they are wanted, and why; the rest is written. They stay wanted:
  /// a change of theirs, one that changes nothing too, tries them again. What they share with these changes may make others be
  /// among them.
  ///
  /// Throws `notWriter` before ``replaceAll(_:)`` in each term.
  @discardableResult
  public func apply(_ changes: [NetworkModel.Change]) async throws(NorthboundError) -> [NetworkModel.ObjectID: String] {
    try await inTurn { (writer) async throws(NorthboundError) in
      let mark = try writer.currentTerm().mark
      guard var state = writer.term?.state else {
        throw NorthboundError(.notWriter, "this term has no model yet: replaceAll comes before apply")
      }
      // Not two of them, or all of it would be copied.
      writer.term?.state = nil
      let ids = Set(changes.map(\.id))
      let touched = state.apply(changes)
      // All that the objects have, also what has not changed: it may not have been written the last time.
      let keys = ids.reduce(into: touched) { $0.formUnion(state.allKeys(of: $1)) }
      writer.term?.state = state
      return try await writer.carryOut(keys, of: state.desired, mark, operationsAtOnce: .max).refused
    }
  }

  /// False when the term is over.
  func repair(_ rows: [RowChange], _ mark: UUID) async -> Bool {
    do throws(NorthboundError) {
      return try await inTurn { (writer) async throws(NorthboundError) -> Bool in
        guard let term = writer.term, term.mark == mark, let desired = term.state?.desired else { return false }
        let keys = rows.compactMap { row -> RowKey? in
          guard let key = Table(rawValue: row.table).map({ RowKey(table: $0, id: row.id) }) else { return nil }
          return row.new?.owner != nil || desired[key] != nil ? key : nil
        }
        let done = try await writer.carryOut(keys, of: desired, mark, operationsAtOnce: writer.operationsAtOnce)
        if done.operations > 0 || !done.refusals.isEmpty {
          writer.logger.warning(
            "somebody else changed rows of Aloft in OVN's northbound database",
            metadata: ["operations": "\(done.operations)", "refused": "\(done.refusals)"])
        }
        return true
      }
    } catch {
      return false
    }
  }

  private func currentTerm() throws(NorthboundError) -> Term {
    guard let term else {
      throw NorthboundError(.notWriter, "this client does not write OVN's northbound database now")
    }
    // The end of the connection may be news that has not come through; what there was before it is no ground to write on.
    guard replica.snapshot.isCurrent else {
      endTerm(term.mark)
      throw NorthboundError(.notWriter, "the connection to OVN's northbound database ended")
    }
    return term
  }

  /// Writes what has to be done about some rows. If the server does not take it as a whole, piece by piece.
  private func carryOut(
    _ keys: some Sequence<RowKey>, of desired: DesiredRows, _ mark: UUID, operationsAtOnce: Int
  ) async throws(NorthboundError) -> Summary {
    var summary = Summary()
    let plan = TransactionPlan(keys, desired: desired, actual: replica.snapshot)
    for operations in plan.transactions(ofAbout: operationsAtOnce) {
      do throws(NorthboundError) {
        try await write(operations, mark)
        summary.note(operations)
      } catch {
        guard error.kind == .refused else { throw error }
        summary.refusals.append(error.message)
      }
    }
    guard !summary.refusals.isEmpty else { return summary }
    var refusals = Refusals()
    // Twice: a piece may have let a row go that a later one has planned with, such as one that moves to another parent.
    for _ in 0..<2 {
      refusals = Refusals()
      for piece in TransactionPlan(keys, desired: desired, actual: replica.snapshot, childrenAtOnce: 1).pieces {
        do throws(NorthboundError) {
          try await write(piece, mark)
          summary.note(piece)
        } catch {
          guard error.kind == .refused else { throw error }
          refusals.note(piece, error.message)
        }
      }
      if refusals.isEmpty { break }
    }
    summary.refusals = refusals.reasons
    summary.refused = refusals.objects(of: keys, desired: desired, actual: replica.snapshot)
    return summary
  }

  private func write(_ operations: [OVSDB.Operation], _ mark: UUID) async throws(NorthboundError) {
    let (client, guarded) = (client, guards(mark) + operations)
    let sending = Task { () async -> Result<Void, OVSDBError> in
      do throws(OVSDBError) { try await client.transact(guarded) } catch { return .failure(error) }
      return .success(())
    }
    term?.sending = sending
    do throws(OVSDBError) {
      try await sending.value.get()
    } catch {
      var error = NorthboundError(error)
      // Nobody cancels it but the end of the term.
      if error.kind == .cancelled {
        error = NorthboundError(.notWriter, "the connection to OVN's northbound database ended")
      }
      if error.kind != .refused { endTerm(mark) }
      throw error
    }
  }
}

extension NorthboundWriter.Summary {
  fileprivate mutating func note(_ written: [OVSDB.Operation]) {
    operations += written.count
    transactions += 1
  }
}
