import FoundationEssentials

// Invariants
//
// - A node has one slot from its first upsert to its removal; a freed slot is used again. `present` holds the taken ones.
// - Every column and every index says the same as `records` at all times: all of them change in `store` and `clear` only.
// - A revision never goes back, not even past a removal: `removedRevisions` remembers.

/// The nodes as placement sees them: one array per property, one bit map per value of the properties that filters ask
/// for. A value type: a copy is a snapshot.
public struct Inventory: Sendable {
  struct Label: Hashable, Sendable {
    let key: String
    let value: String
  }

  struct Fill: Sendable {
    /// Claimed ÷ limit; 1 for a limit of 0. The fourth lane is unused.
    var used = SIMD4<Double>(1, 1, 1, 0)
    /// 1 ÷ limit; 0 for a limit of 0.
    var perUnit = SIMD4<Double>.zero
  }

  private(set) var records: [InventoryNode] = []
  private(set) var slots: [UUID: Int] = [:]
  private var unused: [Int] = []
  private var removedRevisions: [UUID: Int64] = [:]

  // Columns, by slot. Slots that are not present have no room at all.
  private(set) var freeVCPUs: [Int] = []
  private(set) var freeMemory: [Int] = []
  private(set) var freeDisk: [Int] = []
  /// How full the node is per resource (vCPUs, memory, disk), and how much one unit adds: what scores are made of.
  private(set) var fills: [Fill] = []
  /// A hash of the id: what ties are broken with, the same on every replica whatever slot the node has there.
  private(set) var identities: [UInt64] = []
  /// Which label keys a node has, as a number that nodes with the same keys share.
  private(set) var keySetOfSlot: [Int] = []

  // Indexes.
  private(set) var present = SlotSet()
  private(set) var ready = SlotSet()
  private(set) var kvm = SlotSet()
  private(set) var networked = SlotSet()
  private(set) var storagePools: [UUID: SlotSet] = [:]
  private(set) var packing = SlotSet()
  private(set) var zones: [String: SlotSet] = [:]
  private(set) var pools: [UUID: SlotSet] = [:]
  private(set) var architectures: [String: SlotSet] = [:]
  private(set) var cpuModels: [String: SlotSet] = [:]
  private(set) var labels: [Label: SlotList] = [:]
  private(set) var images: [UUID: SlotList] = [:]
  private(set) var keySets = KeySets()

  /// An inventory without nodes.
  public init() {}

  /// How many nodes there are.
  public var count: Int { slots.count }

  /// The node as it was last stored, with the adjustments since.
  public func node(_ id: UUID) -> InventoryNode? { slots[id].map { records[$0] } }

  /// All nodes, in no particular order.
  public var nodes: some Sequence<InventoryNode> { slots.values.lazy.map { records[$0] } }

  /// Stores a node. A revision that is not newer than the known one (or than that of its removal) changes nothing.
  ///
  /// - Returns: whether it was stored.
  @discardableResult
  public mutating func upsert(_ node: InventoryNode) -> Bool {
    if let slot = slots[node.id] {
      guard node.revision > records[slot].revision else { return false }
      replace(at: slot, with: node)
      return true
    }
    if let removed = removedRevisions[node.id] {
      guard node.revision > removed else { return false }
      removedRevisions[node.id] = nil
    }
    let slot = unused.popLast() ?? grow(for: node)
    slots[node.id] = slot
    store(node, at: slot)
    return true
  }

  /// Forgets a node. Later upserts are taken only with a revision above `revision` (default: the known one).
  public mutating func remove(_ id: UUID, revision: Int64? = nil) {
    guard let slot = slots.removeValue(forKey: id) else {
      if let revision { removedRevisions[id] = max(revision, removedRevisions[id] ?? .min) }
      return
    }
    removedRevisions[id] = max(revision ?? .min, records[slot].revision)
    clear(slot)
    freeVCPUs[slot] = .min
    freeMemory[slot] = .min
    freeDisk[slot] = .min
    unused.append(slot)
  }

  /// Adds to (or with negative amounts takes from) what is claimed on a node, ahead of its row's next revision.
  public mutating func adjust(_ id: UUID, by delta: Capacity) {
    guard let slot = slots[id] else { return }
    for resource in Resource.allCases {
      records[slot].claimed[resource] = records[slot].claimed[resource].clampedAdding(delta[resource])
    }
    setFree(slot)
  }
}

// MARK: - Keeping columns and indexes

extension Inventory {
  private mutating func grow(for node: InventoryNode) -> Int {
    records.append(node)
    freeVCPUs.append(.min)
    freeMemory.append(.min)
    freeDisk.append(.min)
    fills.append(Fill())
    identities.append(0)
    keySetOfSlot.append(0)
    return records.count - 1
  }

  private mutating func replace(at slot: Int, with node: InventoryNode) {
    let old = records[slot]
    // Most news of a node are new claims: the indexes need not be touched for those.
    var same = node
    same.revision = old.revision
    same.claimed = old.claimed
    if same == old {
      records[slot] = node
      setFree(slot)
      return
    }
    clear(slot)
    store(node, at: slot)
  }

  private mutating func store(_ node: InventoryNode, at slot: Int) {
    records[slot] = node
    identities[slot] = Mixing.hash(node.id)
    setFree(slot)
    present.insert(slot)
    if node.state == .ready { ready.insert(slot) }
    if node.accelerator == .kvm { kvm.insert(slot) }
    if node.hasNetworks { networked.insert(slot) }
    for pool in node.storagePools { storagePools[pool, default: SlotSet()].insert(slot) }
    if node.strategy == .pack { packing.insert(slot) }
    if let zone = node.zone { zones[zone, default: SlotSet()].insert(slot) }
    pools[node.pool, default: SlotSet()].insert(slot)
    architectures[node.architecture, default: SlotSet()].insert(slot)
    if let model = node.cpuModel { cpuModels[model, default: SlotSet()].insert(slot) }
    for (key, value) in node.labels { labels[Label(key: key, value: value), default: SlotList()].insert(slot) }
    for image in node.cachedImages { images[image, default: SlotList()].insert(slot) }
    keySetOfSlot[slot] = keySets.enter(node.labels.keys)
  }

  private mutating func clear(_ slot: Int) {
    let node = records[slot]
    present.remove(slot)
    ready.remove(slot)
    kvm.remove(slot)
    networked.remove(slot)
    for pool in node.storagePools { Self.remove(slot, from: &storagePools, pool) }
    packing.remove(slot)
    if let zone = node.zone { Self.remove(slot, from: &zones, zone) }
    Self.remove(slot, from: &pools, node.pool)
    Self.remove(slot, from: &architectures, node.architecture)
    if let model = node.cpuModel { Self.remove(slot, from: &cpuModels, model) }
    for (key, value) in node.labels { Self.remove(slot, from: &labels, Label(key: key, value: value)) }
    for image in node.cachedImages { Self.remove(slot, from: &images, image) }
    keySets.leave(keySetOfSlot[slot])
  }

  private mutating func setFree(_ slot: Int) {
    let free = records[slot].free
    let limit = records[slot].limit
    let perUnit = SIMD4(Self.share(limit.vcpus), Self.share(limit.memoryMiB), Self.share(limit.diskGiB), 0)
    let room = SIMD4(Double(free.vcpus), Double(free.memoryMiB), Double(free.diskGiB), 0)
    fills[slot] = Fill(used: SIMD4(1, 1, 1, 0) - room * perUnit, perUnit: perUnit)
    freeVCPUs[slot] = free.vcpus
    freeMemory[slot] = free.memoryMiB
    freeDisk[slot] = free.diskGiB
  }

  private static func share(_ limit: Int) -> Double { limit > 0 ? 1 / Double(limit) : 0 }

  private static func remove<Key>(_ slot: Int, from index: inout [Key: SlotSet], _ key: Key) {
    index[key]?.remove(slot)
    if index[key]?.isEmpty == true { index[key] = nil }
  }

  private static func remove<Key>(_ slot: Int, from index: inout [Key: SlotList], _ key: Key) {
    index[key]?.remove(slot)
    if index[key]?.slots.isEmpty == true { index[key] = nil }
  }

  func freeColumn(_ resource: Resource) -> [Int] {
    switch resource {
    case .vcpus: freeVCPUs
    case .memoryMiB: freeMemory
    case .diskGiB: freeDisk
    }
  }
}
