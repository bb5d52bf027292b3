import AloftModel
import Foundation
import OVSDB

/// What the server did not take, piece by piece.
struct Refusals: Sendable {
  private var pieces: [(keys: Set<RowKey>, reason: String)] = []

  var isEmpty: Bool { pieces.isEmpty }
  var reasons: [String] { pieces.map(\.reason) }

  /// Notes operations of one transaction, which was refused.
  mutating func note(_ operations: [OVSDB.Operation], _ reason: String) {
    pieces.append((Set(operations.compactMap(\.key)), reason))
  }

  /// The objects of which one of these rows is not as it is wanted, and why. A row that another one is to be put into is not
  /// its matter.
  func objects(
    of keys: some Sequence<RowKey>, desired: DesiredRows, actual: some ActualRows
  ) -> [NetworkModel.ObjectID: String] {
    if isEmpty { return [:] }
    var objects: [NetworkModel.ObjectID: String] = [:]
    for key in keys.sorted() {
      guard let wanted = desired[key], let object = wanted.owner.flatMap({ NetworkModel.ObjectID($0) }) else {
        continue
      }
      if let found = actual[key] {
        let difference = RowDifference(
          desired: wanted, actual: found, columns: key.table.columns.filter { !$0.waitsForOthers })
        if difference.isEmpty { continue }
      }
      let reason = pieces.first { $0.keys.contains(key) }?.reason
      objects[object] = objects[object] ?? reason ?? pieces.first.map { "something else was refused: \($0.reason)" }
    }
    return objects
  }
}

extension OVSDB.Operation {
  /// The row that it is about, if it is about one.
  fileprivate var key: RowKey? {
    let (name, id): (String, UUID?) =
      switch self {
      case .insert(let table, _, .identified(let id)): (table, id)
      case .update(let table, let conditions, _), .mutate(let table, let conditions, _),
        .delete(let table, let conditions):
        (table, conditions.first { $0.column == "_uuid" }?.value.uuids?.first)
      default: ("", nil)
      }
    return Table(rawValue: name).flatMap { table in id.map { RowKey(table: table, id: $0) } }
  }
}
