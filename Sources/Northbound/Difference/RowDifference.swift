import OVSDB

/// What has to change in one row, so that it is as it is wanted.
struct RowDifference: Sendable, Hashable {
  /// New values of columns that hold one.
  private(set) var values: Row = [:]
  /// Elements that have to go; of maps the keys, so that it does not matter what they lead to.
  private(set) var removals: [Column: Value] = [:]
  /// Elements and entries that have to come. Those of keys that are there are among the removals, too.
  private(set) var additions: [Column: Value] = [:]

  init(desired: Row, actual: Row, columns: [Column]) {
    for column in columns {
      let (wanted, found) = (desired[column.name] ?? column.initial, actual[column.name] ?? column.initial)
      guard wanted != found else { continue }
      switch (column.kind, wanted, found) {
      case (.value, _, _): values[column.name] = wanted
      case (.sharedMap, .map(let wanted), .map(let found)): note(column, wanted, found.filter { $0.key.isOurs })
      case (_, .map(let wanted), .map(let found)): note(column, wanted, found)
      case (_, .set(let wanted), .set(let found)):
        let (gone, new) = (found.subtracting(wanted), wanted.subtracting(found))
        if !gone.isEmpty { removals[column] = .set(gone) }
        if !new.isEmpty { additions[column] = .set(new) }
      // The schema says which of both a column is, so that this cannot be.
      case (_, .map, .set), (_, .set, .map): continue
      }
    }
  }

  private mutating func note(_ column: Column, _ wanted: [Atom: Atom], _ found: [Atom: Atom]) {
    let gone = found.filter { wanted[$0.key] != $0.value }
    let new = wanted.filter { found[$0.key] != $0.value }
    if !gone.isEmpty { removals[column] = .set(Set(gone.keys)) }
    if !new.isEmpty { additions[column] = .map(new) }
  }

  var isEmpty: Bool { values.isEmpty && removals.isEmpty && additions.isEmpty }

  /// The names of the columns that are different.
  var columns: Set<String> { Set(values.keys).union(removals.keys.map(\.name)).union(additions.keys.map(\.name)) }
}

extension Atom {
  fileprivate var isOurs: Bool { if case .string(let key) = self { key.hasPrefix(ExternalID.prefix) } else { false } }
}
