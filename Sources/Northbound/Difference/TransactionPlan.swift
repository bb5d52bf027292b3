import Foundation
import OVSDB

/// The operations that make rows as they are wanted, in pieces that may be written one after another.
///
/// A piece leaves nothing behind that refers to what is not there yet, and no row that nothing refers to: rows that live in
/// others come with the reference to them. So all pieces make one transaction, and many make several.
struct TransactionPlan: Sendable {
  /// How many rows one piece puts into another row.
  private static let childrenAtOnce = 250

  // The order in which they are written.
  private var changes: [[OVSDB.Operation]] = []
  private var removals: [[OVSDB.Operation]] = []
  private var children: [[OVSDB.Operation]] = []
  private var borrowed: [[OVSDB.Operation]] = []
  private var deletions: [[OVSDB.Operation]] = []

  /// What has to be done about some rows. A row that lives in another one is inserted only if that one is among them.
  init(_ keys: some Sequence<RowKey>, desired: DesiredRows, actual: some ActualRows) {
    for key in keys.sorted() {
      switch (desired[key], actual[key]) {
      case (nil, nil): continue
      case (nil, let found?): delete(key, found)
      case (let wanted?, nil):
        guard key.table.isRoot else { continue }
        insert(key, wanted)
        add(RowDifference(desired: wanted, actual: [:], columns: key.table.columns), to: key, desired, actual)
      case (let wanted?, let found?):
        let difference = RowDifference(desired: wanted, actual: found, columns: key.table.columns)
        update(key, difference)
        add(difference, to: key, desired, actual)
      }
    }
  }

  var pieces: [[OVSDB.Operation]] { changes + removals + children + borrowed + deletions }

  /// All of it as one transaction; empty when everything is as it is wanted.
  var operations: [OVSDB.Operation] { pieces.flatMap(\.self) }

  /// All of it in transactions of about that many operations.
  func transactions(ofAbout count: Int) -> [[OVSDB.Operation]] {
    var transactions: [[OVSDB.Operation]] = []
    for piece in pieces {
      if let last = transactions.last, last.count + piece.count <= count {
        transactions[transactions.count - 1] += piece
      } else {
        transactions.append(piece)
      }
    }
    return transactions
  }

  private mutating func insert(_ key: RowKey, _ row: Row) {
    changes.append([Self.insertion(key, row)])
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

  /// Elements that need rows of other tables.
  private mutating func add(
    _ difference: RowDifference, to key: RowKey, _ desired: DesiredRows, _ actual: some ActualRows
  ) {
    for (column, value) in difference.additions {
      guard column.waitsForOthers, case .set(let atoms) = value else { continue }
      guard case .children(let table) = column.kind else {
        borrowed.append([key.mutate([Mutation(column.name, .insert, value)])])
        continue
      }
      let ids = atoms.compactMap { if case .uuid(let id) = $0 { id } else { nil } }.sorted {
        $0.uuidString < $1.uuidString
      }
      for start in stride(from: 0, to: ids.count, by: Self.childrenAtOnce) {
        let some = ids[start..<min(start + Self.childrenAtOnce, ids.count)]
        var operations = some.compactMap { id -> OVSDB.Operation? in
          let child = RowKey(table: table, id: id)
          return actual[child] == nil ? desired[child].map { Self.insertion(child, $0) } : nil
        }
        operations.append(key.mutate([Mutation(column.name, .insert, .uuids(some))]))
        children.append(operations)
      }
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
