import OVSDB

/// The rows that are wanted: the sum of the contributions of all objects.
///
/// A row is there when its owner is. What others add to it is kept until then.
struct DesiredRows: Sendable {
  private struct Composed: Sendable {
    var own: Row?
    /// How many contribute each.
    var elements: [String: [Atom: Int]] = [:]
    var entries: [String: [String: [String: Int]]] = [:]

    var isEmpty: Bool { own == nil && elements.isEmpty && entries.isEmpty }
  }

  private var composed: [RowKey: Composed] = [:]

  /// The rows that are there.
  var keys: some Sequence<RowKey> { composed.lazy.filter { $0.value.own != nil }.map(\.key) }

  /// All columns of a row that are ours; nil when it is not wanted.
  subscript(key: RowKey) -> Row? {
    guard let composed = composed[key], let own = composed.own else { return nil }
    var row = Row(minimumCapacity: key.table.columns.count)
    for column in key.table.columns {
      if let elements = composed.elements[column.name] {
        row[column.name] = .set(Set(elements.keys))
      } else if let entries = composed.entries[column.name] {
        var words = [String: String](minimumCapacity: entries.count)
        for (key, counts) in entries { words[key] = Self.joined(counts.keys, key) }
        row[column.name] = .map(words)
      } else {
        row[column.name] = own[column.name] ?? column.initial
      }
    }
    return row
  }

  /// Takes `old` out and `new` in; returns the rows that may be different by that.
  mutating func replace(_ old: Contribution?, by new: Contribution?) -> Set<RowKey> {
    guard old != new else { return [] }
    var touched: Set<RowKey> = []
    for (key, row) in old?.rows ?? [:] where new?.rows[key] != row {
      composed[key]?.own = nil
      touched.insert(key)
    }
    for (key, row) in new?.rows ?? [:] where old?.rows[key] != row {
      composed[key, default: Composed()].own = row
      touched.insert(key)
    }
    let (oldElements, newElements) = (old?.elements ?? [], new?.elements ?? [])
    for element in oldElements.subtracting(newElements) { touched.insert(count(element, -1)) }
    for element in newElements.subtracting(oldElements) { touched.insert(count(element, 1)) }
    let (oldEntries, newEntries) = (old?.entries ?? [], new?.entries ?? [])
    for entry in oldEntries.subtracting(newEntries) { touched.insert(count(entry, -1)) }
    for entry in newEntries.subtracting(oldEntries) { touched.insert(count(entry, 1)) }
    for key in touched where composed[key]?.isEmpty == true { composed[key] = nil }
    return touched
  }

  private mutating func count(_ element: Contribution.Element, _ change: Int) -> RowKey {
    composed[element.row, default: Composed()].elements[element.column, default: [:]].count(element.atom, change)
    if composed[element.row]?.elements[element.column]?.isEmpty == true {
      composed[element.row]?.elements[element.column] = nil
    }
    return element.row
  }

  private mutating func count(_ entry: Contribution.Entry, _ change: Int) -> RowKey {
    composed[entry.row, default: Composed()].entries[entry.column, default: [:]][entry.key, default: [:]]
      .count(entry.word, change)
    if composed[entry.row]?.entries[entry.column]?[entry.key]?.isEmpty == true {
      composed[entry.row]?.entries[entry.column]?[entry.key] = nil
    }
    if composed[entry.row]?.entries[entry.column]?.isEmpty == true {
      composed[entry.row]?.entries[entry.column] = nil
    }
    return entry.row
  }

  /// A name may have several addresses; an address has one name, whoever claims it.
  private static func joined(_ words: some Collection<String>, _ key: String) -> String {
    if let word = words.first, words.count == 1 { return word }
    let sorted = words.sorted()
    return key.hasSuffix(".arpa") ? sorted.first ?? "" : sorted.joined(separator: " ")
  }
}

extension Dictionary where Value == Int {
  fileprivate mutating func count(_ key: Key, _ change: Int) {
    let count = self[key, default: 0] + change
    self[key] = count == 0 ? nil : count
  }
}
