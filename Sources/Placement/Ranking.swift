import FoundationEssentials

/// Scores nodes that fit, and keeps the best of them.
struct Ranking {
  private let need: SIMD4<Double>
  private let policy: PlacementPolicy
  /// By number of the key set, already weighted.
  private let scarcity: [Double]
  /// What choosing a KVM node costs when the request does not ask for KVM.
  private let kvmCost: Double
  private let cached: SlotSet
  private let preferred: SlotSet
  private let avoided: [Int: Int]
  private let hasExtras: Bool

  init(_ request: PlacementRequest, policy: PlacementPolicy, in inventory: Inventory) {
    self.policy = policy
    need = SIMD4(
      Double(max(0, request.need.vcpus)), Double(max(0, request.need.memoryMiB)),
      Double(max(0, request.need.diskGiB)), 0)
    let nodes = inventory.count
    scarcity = inventory.keySets.scarcity(besides: request.nodeSelector, nodes: nodes)
      .map { $0 * policy.scarcityWeight }
    let kvmShare = nodes > 0 ? Double(inventory.kvm.count) / Double(nodes) : 1
    kvmCost = request.accelerator == .kvm ? 0 : (1 - kvmShare) * policy.scarcityWeight
    cached = SlotSet(request.image.flatMap { inventory.images[$0] })
    preferred = inventory.slotSet(request.preferred)
    avoided = request.avoided.reduce(into: [:]) { slots, entry in
      if let slot = inventory.slots[entry.key], entry.value > 0 { slots[slot] = entry.value }
    }
    hasExtras = !cached.isEmpty || !preferred.isEmpty || !avoided.isEmpty
  }

  /// Higher is better. A function of the node and the request alone: it does not depend on other candidates.
  func score(_ slot: Int, in inventory: Inventory) -> Double {
    score(slot, inventory.fills[slot], inventory.keySetOfSlot[slot], in: inventory)
  }

  @inline(__always)
  private func score(_ slot: Int, _ fill: Inventory.Fill, _ keySet: Int, in inventory: Inventory) -> Double {
    // How full the node would be, per resource.
    let used = fill.used + need * fill.perUnit
    let packs = (policy.strategy ?? (inventory.packing.contains(slot) ? .pack : .spread)) == .pack
    let merit = packs ? 0.4 * used.x + 0.4 * used.y + 0.2 * used.z : 1 - max(used.x, used.y, used.z)
    let balanced = policy.strategyWeight * merit - policy.balanceWeight * abs(used.x - used.y)
    // Spread does not care for the last half percent, so that replicas which decide at the same time find several equally
    // good nodes; pack does, or it would open nodes it does not need.
    var score =
      packs ? (balanced * 65_536).rounded() * (1 / 65_536) : (balanced * 256).rounded() * (1 / 256)
    score -= scarcity[keySet]
    if kvmCost > 0, inventory.kvm.contains(slot) { score -= kvmCost }
    if hasExtras { score += extras(slot) }
    return score
  }

  private func extras(_ slot: Int) -> Double {
    var sum = 0.0
    if cached.contains(slot) { sum += policy.imageWeight }
    if preferred.contains(slot) { sum += policy.affinityWeight }
    // 1/2, 2/3, 3/4...: one more neighbour always counts, but never as much as the first.
    if let count = avoided[slot] { sum -= policy.affinityWeight * (1 - 1 / Double(count + 1)) }
    return sum
  }

  /// The best nodes among `fitting`, best first. Among equals, the seed decides.
  func best(of fitting: SlotSet, in inventory: Inventory, seed: UInt64) -> [(slot: Int, score: Double)] {
    var top = TopList(limit: max(1, policy.candidates))
    let salt = Mixing.mix(seed)
    inventory.fills.withUnsafeBufferPointer { fills in
      inventory.keySetOfSlot.withUnsafeBufferPointer { keySets in
        fitting.forEach { slot in
          let score = score(slot, fills[slot], keySets[slot], in: inventory)
          top.offer(slot: slot, score: score) { Mixing.mix(inventory.identities[slot] ^ salt) }
        }
      }
    }
    return top.entries.map { ($0.slot, $0.score) }
  }
}

/// The few best of many, kept sorted. Most offers are turned away by one comparison.
private struct TopList {
  struct Entry {
    let slot: Int
    let score: Double
    let ticket: UInt64

    func precedes(_ other: Entry) -> Bool { score != other.score ? score > other.score : ticket < other.ticket }
  }

  private(set) var entries: [Entry] = []
  private let limit: Int

  init(limit: Int) {
    self.limit = limit
    entries.reserveCapacity(min(limit, 64) + 1)
  }

  @inline(__always)
  mutating func offer(slot: Int, score: Double, ticket: () -> UInt64) {
    if entries.count == limit, let last = entries.last, score < last.score { return }
    let entry = Entry(slot: slot, score: score, ticket: ticket())
    if entries.count == limit {
      guard let last = entries.last, entry.precedes(last) else { return }
      entries.removeLast()
    }
    var place = entries.count
    while place > 0, entry.precedes(entries[place - 1]) { place -= 1 }
    entries.insert(entry, at: place)
  }
}
