import FoundationEssentials
import JSON

/// How one row has changed: `old` is nil for a new row, `new` for one that is gone.
public struct RowChange: Sendable, Hashable {
  public let table: String
  public let id: UUID
  public let old: Row?
  public let new: Row?
}

/// The rows of a replica, and the rules by which a server's updates change them (ovsdb-server(7), `update2`).
///
/// Rows that are inserted lack the columns that have their default; a modified row comes as the difference: the whole
/// value of a column that holds at most one element, otherwise the elements that were added or removed, and the entries
/// that were added, removed or got another value.
struct ReplicaContent: Sendable, Hashable {
  /// An update that does not fit what is there.
  struct Fault: Error, Hashable, CustomStringConvertible {
    let description: String
  }

  private(set) var tables: [String: [UUID: Row]] = [:]

  /// What one notification changes.
  func changes(
    by updates: JSONValue, schema: DatabaseSchema, monitored: [MonitoredTable]
  ) throws(Fault) -> [RowChange] {
    guard let byTable = updates.objectValue else { throw Fault(description: "table updates are no object") }
    var changes: [RowChange] = []
    for table in byTable {
      guard let columns = schema.tables[table.key], let request = monitored.first(where: { $0.name == table.key })
      else {
        throw Fault(description: "an update of the table \"\(table.key)\", which is not monitored")
      }
      guard let rows = table.value.objectValue else {
        throw Fault(description: "row updates of \"\(table.key)\" are no object")
      }
      let names = request.columns ?? Array(columns.keys)
      for member in rows {
        guard let id = UUID(uuidString: member.key), let update = member.value.objectValue, update.count == 1 else {
          throw Fault(description: "an update of a row \"\(member.key)\" in \"\(table.key)\"")
        }
        let old = tables[table.key]?[id]
        let new = try Self.row(after: update[0], old: old, columns: columns, names: names, in: table.key)
        if old != new { changes.append(RowChange(table: table.key, id: id, old: old, new: new)) }
      }
    }
    return changes
  }

  mutating func apply(_ changes: [RowChange]) {
    for change in changes { tables[change.table, default: [:]][change.id] = change.new }
  }

  /// What has to change in this content so that it becomes the other.
  func changes(to other: ReplicaContent) -> [RowChange] {
    var changes: [RowChange] = []
    for (table, rows) in tables {
      for (id, old) in rows {
        let new = other.tables[table]?[id]
        if old != new { changes.append(RowChange(table: table, id: id, old: old, new: new)) }
      }
    }
    for (table, rows) in other.tables {
      for (id, new) in rows where tables[table]?[id] == nil {
        changes.append(RowChange(table: table, id: id, old: nil, new: new))
      }
    }
    return changes
  }

  private static func row(
    after update: JSONObject.Member, old: Row?, columns: [String: DatabaseSchema.Column], names: [String],
    in table: String
  ) throws(Fault) -> Row? {
    switch update.key {
    case "delete": return nil
    case "initial", "insert":
      guard let given = Row(json: update.value) else { throw Fault(description: "a new row of \"\(table)\" is no row") }
      var row = Row(minimumCapacity: names.count)
      for name in names { row[name] = given[name] ?? columns[name]?.defaultValue }
      return row.mapsWhereTheSchemaSays(columns)
    case "modify":
      guard var row = old else { throw Fault(description: "a row of \"\(table)\" changed that was never there") }
      guard let difference = Row(json: update.value) else {
        throw Fault(description: "a changed row of \"\(table)\" is no row")
      }
      for (name, change) in difference {
        // Every row has it, and no schema names it.
        if name == "_version" {
          row[name] = change
          continue
        }
        guard let column = columns[name] else {
          throw Fault(description: "the table \"\(table)\" has no column \"\(name)\"")
        }
        row[name] =
          column.isWrittenAsDifference ? (row[name] ?? column.defaultValue).applying(difference: change) : change
      }
      return row.mapsWhereTheSchemaSays(columns)
    default: throw Fault(description: "an unknown kind of row update, \"\(update.key)\"")
    }
  }
}

extension Row {
  /// An empty map may be written as an empty set.
  fileprivate func mapsWhereTheSchemaSays(_ columns: [String: DatabaseSchema.Column]) -> Row {
    var row = self
    for (name, value) in row where value == .empty && columns[name]?.value != nil { row[name] = .map([Atom: Atom]()) }
    return row
  }
}

extension Value {
  /// The value after a difference: elements that are there go, others come; an entry with the value that is there goes,
  /// any other one is set.
  func applying(difference: Value) -> Value {
    switch (self, difference) {
    case (.set(let atoms), .set(let changed)): return .set(atoms.symmetricDifference(changed))
    case (.map(let entries), .map(let changed)):
      var result = entries
      for (key, value) in changed { result[key] = result[key] == value ? nil : value }
      return .map(result)
    case (.map, .set(let changed)): return changed.isEmpty ? self : difference
    case (.set, .map): return difference
    }
  }
}
