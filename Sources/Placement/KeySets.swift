/// Which label keys nodes carry, counted by whole sets: most nodes of a fleet share a few of them, so what depends on
/// the keys is computed once per set and not once per node.
struct KeySets: Sendable {
  private(set) var sets: [Set<String>] = []
  private(set) var nodesPerSet: [Int] = []
  private(set) var nodesPerKey: [String: Int] = [:]
  private var numbers: [Set<String>: Int] = [:]
  private var unused: [Int] = []

  /// Counts one more node with these keys; returns the number of its set.
  mutating func enter(_ keys: some Sequence<String>) -> Int {
    let set = Set(keys)
    for key in set { nodesPerKey[key, default: 0] += 1 }
    if let number = numbers[set] {
      nodesPerSet[number] += 1
      return number
    }
    let number: Int
    if let old = unused.popLast() {
      number = old
      sets[number] = set
      nodesPerSet[number] = 1
    } else {
      number = sets.count
      sets.append(set)
      nodesPerSet.append(1)
    }
    numbers[set] = number
    return number
  }

  /// Counts one node less.
  mutating func leave(_ number: Int) {
    let set = sets[number]
    for key in set {
      let left = (nodesPerKey[key] ?? 1) - 1
      nodesPerKey[key] = left > 0 ? left : nil
    }
    nodesPerSet[number] -= 1
    if nodesPerSet[number] == 0 {
      numbers[set] = nil
      sets[number] = []
      unused.append(number)
    }
  }

  /// For each set, how scarce its scarcest key is that the request does not ask for: 1 − the share of nodes that have it.
  func scarcity(besides wanted: [String: String], nodes: Int) -> [Double] {
    guard nodes > 0 else { return [] }
    return sets.map { set in
      set.reduce(0) { scarcest, key in
        wanted[key] == nil ? max(scarcest, 1 - Double(nodesPerKey[key] ?? 0) / Double(nodes)) : scarcest
      }
    }
  }
}
