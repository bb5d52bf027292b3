import Foundation
import OVSDB

/// One row that is not as it should be.
public struct Discrepancy: Sendable, Hashable, CustomStringConvertible {
  public enum Kind: Sendable, Hashable {
    case missing
    /// It says that it is ours, and is not wanted.
    case unexpected
    /// These columns are different.
    case different(columns: [String])
  }

  public let table: String
  public let row: UUID
  /// The id of the object that the row is for, if the row says so.
  public let owner: String?
  public let kind: Kind

  public var description: String {
    let row = "\(table) \(row.uuidString.lowercased())" + (owner.map { " of \($0)" } ?? "")
    return switch kind {
    case .missing: "\(row) is missing"
    case .unexpected: "\(row) should not exist"
    case .different(let columns): "\(row) differs in \(columns.joined(separator: ", "))"
    }
  }

  /// All of them, in the order of tables.
  static func all(desired: DesiredRows, actual: some ActualRows) -> [Discrepancy] {
    Set(desired.keys).union(actual.ownedKeys).sorted().compactMap { Discrepancy($0, desired: desired, actual: actual) }
  }

  /// Nil when the row is as it is wanted.
  init?(_ key: RowKey, desired: DesiredRows, actual: some ActualRows) {
    let (wanted, found) = (desired[key], actual[key])
    switch (wanted, found) {
    case (nil, nil): return nil
    case (_?, nil): kind = .missing
    case (nil, _?): kind = .unexpected
    case (let wanted?, let found?):
      let difference = RowDifference(desired: wanted, actual: found, columns: key.table.columns)
      if difference.isEmpty { return nil }
      kind = .different(columns: difference.columns.sorted())
    }
    table = key.table.rawValue
    row = key.id
    owner = wanted?.owner ?? found?.owner
  }
}
