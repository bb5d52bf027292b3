import AloftModel
import Foundation
import OVSDB

/// What one object has in the database: rows of its own, and parts of other objects' rows.
struct Contribution: Sendable, Hashable {
  /// An element of a set.
  struct Element: Sendable, Hashable {
    let row: RowKey
    let column: String
    let atom: Atom
  }

  /// A word of what a key of a map leads to.
  struct Entry: Sendable, Hashable {
    let row: RowKey
    let column: String
    let key: String
    let word: String
  }

  private let owner: NetworkModel.ObjectID
  private(set) var rows: [RowKey: Row] = [:]
  private(set) var elements: Set<Element> = []
  private(set) var entries: Set<Entry> = []

  init(owner: NetworkModel.ObjectID) { self.owner = owner }

  /// All rows that it has anything in.
  var keys: Set<RowKey> {
    Set(rows.keys).union(elements.lazy.map(\.row)).union(entries.lazy.map(\.row))
  }

  /// A row that lives by itself.
  mutating func add(
    _ table: Table, _ id: UUID, _ columns: Row, externalIDs: [String: String] = [:]
  ) {
    var row = columns
    row["external_ids"] = .map(externalIDs.merging([ExternalID.owner: owner.description]) { $1 })
    rows[RowKey(table: table, id: id)] = row
  }

  /// A row that lives in a column of another one.
  mutating func add(
    _ table: Table, _ id: UUID, in column: String, of parent: RowKey, _ columns: Row,
    externalIDs: [String: String] = [:]
  ) {
    add(table, id, columns, externalIDs: externalIDs)
    add(.uuid(id), to: column, of: parent)
  }

  mutating func add(_ atom: Atom, to column: String, of row: RowKey) {
    elements.insert(Element(row: row, column: column, atom: atom))
  }

  mutating func add(word: String, to key: String, in column: String, of row: RowKey) {
    entries.insert(Entry(row: row, column: column, key: key, word: word))
  }
}
