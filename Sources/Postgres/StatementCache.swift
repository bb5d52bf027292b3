/// Which statements are prepared on a connection, and under which name.
///
/// The bound is enforced between jobs (``overflow()``), not in the middle of a transaction: deallocating is a round trip.
struct StatementCache {
  private struct Entry {
    let name: String
    var lastUse: UInt64
  }

  private let capacity: Int
  private var entries: [String: Entry] = [:]
  private var clock: UInt64 = 0

  init(capacity: Int) { self.capacity = capacity }

  var count: Int { entries.count }

  /// The name under which `text` is prepared, or nil.
  mutating func name(for text: String) -> String? {
    clock += 1
    guard let position = entries.index(forKey: text) else { return nil }
    entries.values[position].lastUse = clock
    return entries.values[position].name
  }

  /// A fresh name for `text`, which is about to be prepared.
  mutating func add(_ text: String) -> String {
    clock += 1
    let name = "s\(clock)"
    entries[text] = Entry(name: name, lastUse: clock)
    return name
  }

  /// Forgets a statement; returns its name.
  @discardableResult
  mutating func remove(_ text: String) -> String? { entries.removeValue(forKey: text)?.name }

  /// Forgets the least recently used statements above three quarters of the bound, once the bound is passed (so that this
  /// happens for many at once); returns their names, to be deallocated.
  mutating func overflow() -> [String] {
    guard entries.count > capacity else { return [] }
    let oldestFirst = entries.sorted { $0.value.lastUse < $1.value.lastUse }
    let surplus = oldestFirst.prefix(entries.count - capacity * 3 / 4)
    for (text, _) in surplus { entries.removeValue(forKey: text) }
    return surplus.map(\.value.name)
  }
}
