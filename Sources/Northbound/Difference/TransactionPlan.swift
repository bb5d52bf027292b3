import Foundation
import OVSDB

/// The operations that make rows as they are wanted, in pieces that may be written one after another.
///
/// A piece leaves nothing behind that refers to what is not there yet, and no row that nothing refers to: rows that live in
/// others come with the reference to them. A port comes with its places in port groups, which are there before with their
/// rules, so it is never without them. All pieces together make one transaction, or many several.
struct TransactionPlan: Sendable {
  // The order in which they are written.
  private var changes: [[OVSDB.Operation]] = []
  private var removals: [[OVSDB.Operation]] = []
  private var children: [[OVSDB.Operation]] = []
  private var borrowings: [[OVSDB.Operation]] = []
  private var deletions: [[OVSDB.Operation]] = []

  private let desired: DesiredRows
  private let childrenAtOnce: Int
  /// Which rows take in a row that is new, and by which column.
  private var takers: [UUID: [Taker]] = [:]

  private struct Taker: Hashable {
    let key: RowKey
    let column: String
  }

  /// What has to be done about some rows. A row that lives in another one is inserted only if that one is among them.
  ///
  /// `childrenAtOnce`: how many rows one piece puts into another row.
  init(
    _ keys: some Sequence<RowKey>, desired: DesiredRows, actual: some ActualRows, childrenAtOnce: Int = 250
  ) {
    self.desired = desired
    self.childrenAtOnce = childrenAtOnce
    var additions: [(RowKey, RowDifference)] = []
    for key in keys.sorted() {
      switch (desired[key], actual[key]) {
      case (nil, nil): continue
      case (nil, let found?): delete(key, found)
      case (let wanted?, nil):
        guard key.table.isRoot else { continue }
        changes.append([Self.insertion(key, wanted)])
        additions.append((key, RowDifference(desired: wanted, actual: [:], columns: key.table.columns)))
      case (let wanted?, let found?):
        let difference = RowDifference(desired: wanted, actual: found, columns: key.table.columns)
        update(key, difference)
        additions.append((key, difference))
      }
    }
    for (key, difference) in additions { noteTakers(key, difference) }
    for (key, difference) in additions { addChildren(difference, to: key, actual) }
    borrow(takers)
  }

  var pieces: [[OVSDB.Operation]] { changes + removals + children + borrowings + deletions }

  /// All of it in transactions of about that many operations.
  func transactions(ofAbout count: Int) -> [[OVSDB.Operation]] {
    var transactions: [[OVSDB.Operation]] = []
    for piece in pieces {
      if let last = transactions.last, last.count <= count - piece.count {
        transactions[transactions.count - 1] += piece
      } else {
        transactions.append(piece)
      }
    }
    return transactions
  }

  private static func insertion(_ key: RowKey, _ row: Row) -> OVSDB.Operation {
    var columns = Row(minimumCapacity: row.count)
    for column in key.table.columns where !column.waitsForOthers {
      if let value = row[column.name], value != column.initial { columns[column.name] = value }
    }
    return .insert(table: key.table.rawValue, row: columns, as: .identified(key.id))
  }

  private mutating func update(_ key: RowKey, _ difference: RowDifference) {
    var operations: [OVSDB.Operation] = []
    if !difference.values.isEmpty {
      operations.append(.update(table: key.table.rawValue, where: [.row(key.id)], row: difference.values))
    }
    let gone = difference.removals.filter { !$0.key.waitsForOthers }.mutations(.delete)
    let new = difference.additions.filter { !$0.key.waitsForOthers }.mutations(.insert)
    if !gone.isEmpty || !new.isEmpty { operations.append(key.mutate(gone + new)) }
    if !operations.isEmpty { changes.append(operations) }
    let removed = difference.removals.filter(\.key.waitsForOthers).mutations(.delete)
    if !removed.isEmpty { removals.append([key.mutate(removed)]) }
  }

  private mutating func noteTakers(_ key: RowKey, _ difference: RowDifference) {
    for (column, value) in difference.additions where column.kind == .borrowed {
      for id in value.rowIDs { takers[id, default: []].append(Taker(key: key, column: column.name)) }
    }
  }

  private mutating func addChildren(_ difference: RowDifference, to key: RowKey, _ actual: some ActualRows) {
    for (column, value) in difference.additions {
      guard case .children(let table) = column.kind else { continue }
      let ids = value.rowIDs
      for start in stride(from: 0, to: ids.count, by: childrenAtOnce) {
        let some = ids[start..<min(start + childrenAtOnce, ids.count)]
        let operations = some.compactMap { id -> OVSDB.Operation? in
          let child = RowKey(table: table, id: id)
          return actual[child] == nil ? desired[child].map { Self.insertion(child, $0) } : nil
        }
        var taken: [UUID: [Taker]] = [:]
        for id in some { taken[id] = takers.removeValue(forKey: id) }
        children.append(
          operations + [key.mutate([Mutation(column.name, .insert, .uuids(some))])] + Self.borrowing(taken))
      }
    }
  }

  /// Of rows that were there already.
  private mutating func borrow(_ takers: [UUID: [Taker]]) {
    borrowings += Self.borrowing(takers).map { [$0] }
  }

  private static func borrowing(_ takers: [UUID: [Taker]]) -> [OVSDB.Operation] {
    var byTaker: [Taker: [UUID]] = [:]
    for (id, all) in takers {
      for taker in all { byTaker[taker, default: []].append(id) }
    }
    return byTaker.sorted { $0.key.key < $1.key.key }.map { taker, ids in
      taker.key.mutate([Mutation(taker.column, .insert, .uuids(ids))])
    }
  }

  private mutating func delete(_ key: RowKey, _ found: Row) {
    if key.table.isRoot {
      deletions.append([.delete(table: key.table.rawValue, where: [.row(key.id)])])
    } else if key.table == .logicalRouterPort, found["ha_chassis_group"] != .empty {
      // The port goes when its router lets go of it, at the end of a transaction; only then would the group be free.
      removals.append([
        .update(table: key.table.rawValue, where: [.row(key.id)], row: ["ha_chassis_group": .empty])
      ])
    }
  }
}

extension RowKey {
  fileprivate func mutate(_ mutations: [Mutation]) -> OVSDB.Operation {
    .mutate(table: table.rawValue, where: [.row(id)], mutations: mutations)
  }
}

extension [Column: Value] {
  fileprivate func mutations(_ mutator: Mutation.Mutator) -> [Mutation] {
    map { Mutation($0.key.name, mutator, $0.value) }.sorted { $0.column < $1.column }
  }
}

extension Value {
  /// The rows that a set refers to, in a fixed order.
  fileprivate var rowIDs: [UUID] { (uuids ?? []).sorted { $0.uuidString < $1.uuidString } }
}
