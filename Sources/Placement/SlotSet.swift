/// A set of slots (row numbers of the inventory) as a bit map: intersecting 10 000 of them is 157 instructions.
struct SlotSet: Sendable, Equatable {
  /// Bit `slot % 64` of word `slot / 64`. Words past the end count as 0, so sets of different length meet.
  private(set) var words: [UInt64] = []

  init() {}

  init(_ list: SlotList?) {
    guard let list, let last = list.slots.last else { return }
    words = [UInt64](repeating: 0, count: Int(last) / 64 + 1)
    for slot in list.slots { words[Int(slot) >> 6] |= 1 << UInt64(slot & 63) }
  }

  var count: Int { words.reduce(0) { $0 + $1.nonzeroBitCount } }
  var isEmpty: Bool { words.allSatisfy { $0 == 0 } }

  func contains(_ slot: Int) -> Bool {
    let index = slot >> 6
    return index < words.count && words[index] & (1 << UInt64(slot & 63)) != 0
  }

  mutating func insert(_ slot: Int) {
    let index = slot >> 6
    if index >= words.count { words += repeatElement(0, count: index + 1 - words.count) }
    words[index] |= 1 << UInt64(slot & 63)
  }

  mutating func remove(_ slot: Int) {
    let index = slot >> 6
    if index < words.count { words[index] &= ~(1 << UInt64(slot & 63)) }
  }

  mutating func formIntersection(_ other: SlotSet) {
    let shared = min(words.count, other.words.count)
    for index in 0..<shared { words[index] &= other.words[index] }
    for index in shared..<words.count { words[index] = 0 }
  }

  mutating func subtract(_ other: SlotSet) {
    for index in 0..<min(words.count, other.words.count) { words[index] &= ~other.words[index] }
  }

  /// Keeps the slots for which `column[slot] >= minimum`.
  mutating func keep(whereAtLeast minimum: Int, in column: [Int]) {
    column.withUnsafeBufferPointer { values in
      words.withUnsafeMutableBufferPointer { words in
        for index in words.indices where words[index] != 0 {
          var rest = words[index]
          var kept = rest
          while rest != 0 {
            let lowest = rest & (0 &- rest)
            if values[index << 6 + lowest.trailingZeroBitCount] < minimum { kept ^= lowest }
            rest ^= lowest
          }
          words[index] = kept
        }
      }
    }
  }

  /// Calls `body` for each slot in ascending order.
  @inline(__always)
  func forEach(_ body: (Int) -> Void) {
    for index in words.indices {
      var rest = words[index]
      while rest != 0 {
        body(index << 6 + rest.trailingZeroBitCount)
        rest &= rest - 1
      }
    }
  }
}

/// A set of slots as a sorted list, for the many sets that are small (a label only few nodes have).
struct SlotList: Sendable, Equatable {
  private(set) var slots: [Int32] = []

  mutating func insert(_ slot: Int) {
    let place = position(of: slot)
    if place == slots.count || slots[place] != Int32(slot) { slots.insert(Int32(slot), at: place) }
  }

  mutating func remove(_ slot: Int) {
    let place = position(of: slot)
    if place < slots.count, slots[place] == Int32(slot) { slots.remove(at: place) }
  }

  private func position(of slot: Int) -> Int {
    var low = 0
    var high = slots.count
    while low < high {
      let middle = (low + high) / 2
      if slots[middle] < Int32(slot) { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
