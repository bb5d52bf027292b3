import Foundation
import OVSDB

/// The rows that are there.
protocol ActualRows {
  subscript(key: RowKey) -> Row? { get }
  func rows(of table: Table) -> [UUID: Row]
}

extension ReplicaSnapshot: ActualRows {
  subscript(key: RowKey) -> Row? { self[key.table.rawValue][key.id] }
  func rows(of table: Table) -> [UUID: Row] { self[table.rawValue] }
}

extension ActualRows {
  /// Those that say that they are ours.
  var ownedKeys: [RowKey] {
    Table.allCases.flatMap { table in
      rows(of: table).compactMap { id, row in row.owner == nil ? nil : RowKey(table: table, id: id) }
    }
  }
}

extension Table {
  /// What a replica has to hold so that rows can be compared, with whether ports are plugged in.
  static var monitored: [MonitoredTable] {
    allCases.map { table in
      let state = table == .logicalSwitchPort ? [PortState.column] : []
      return MonitoredTable(table.rawValue, columns: table.columns.map(\.name) + state)
    }
  }
}
