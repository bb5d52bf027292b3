import FoundationEssentials

@testable import Placement

/// SplitMix64: a seed gives the same fleet everywhere.
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    return Mixing.mix(state)
  }

  mutating func uuid() -> UUID {
    var bytes: uuid_t = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    withUnsafeMutableBytes(of: &bytes) { for index in $0.indices { $0[index] = .random(in: 0...255, using: &self) } }
    return UUID(uuid: bytes)
  }

  mutating func one<T>(of values: [T]) -> T { values[Int.random(in: 0..<values.count, using: &self)] }

  mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self) < percent }
}

/// Small fleets and requests with few distinct values, so that constraints meet often.
struct Fleet {
  var random: SeededGenerator
  let pools: [UUID]
  let images: [UUID]
  var nodes: [InventoryNode] = []

  init(seed: UInt64, nodes count: Int) {
    random = SeededGenerator(seed: seed)
    let pools = (0..<2).map { [random] index in SeededGenerator.fixed(index, in: random) }
    self.pools = pools
    images = (2..<4).map { [random] index in SeededGenerator.fixed(index, in: random) }
    for _ in 0..<count { nodes.append(node(random.uuid())) }
  }

  mutating func node(_ id: UUID, revision: Int64 = 1) -> InventoryNode {
    var labels: [String: String] = [:]
    if random.chance(30) { labels["gpu"] = random.one(of: ["true", "false"]) }
    if random.chance(80) { labels["rack"] = random.one(of: ["a", "b", "c"]) }
    return InventoryNode(
      id: id, revision: revision, state: random.chance(75) ? .ready : random.one(of: InventoryNode.State.allCases),
      zone: random.one(of: ["a", "b", nil]), pool: random.one(of: pools), labels: labels,
      architecture: random.one(of: ["x86_64", "x86_64", "aarch64"]),
      accelerator: random.one(of: [.kvm, .kvm, .tcg]), cpuModel: random.one(of: ["EPYC", "Skylake", nil]),
      capacity: amounts(vcpus: 0...16, memory: 0...64, disk: 0...100),
      claimed: amounts(vcpus: 0...12, memory: 0...40, disk: 0...60),
      reserved: amounts(vcpus: 0...1, memory: 0...2, disk: 0...2),
      overcommit: .init(
        cpu: random.one(of: [1, 1.5, 4]), memory: random.one(of: [0.7, 1, 1.25]), disk: random.one(of: [1, 2])),
      cachedImages: random.chance(40) ? [random.one(of: images)] : [],
      strategy: random.one(of: InventoryNode.Strategy.allCases))
  }

  mutating func request() -> PlacementRequest {
    var request = PlacementRequest(need: amounts(vcpus: 0...8, memory: 0...24, disk: 0...50))
    if random.chance(40) { request.architecture = random.one(of: ["x86_64", "aarch64", "riscv64"]) }
    request.accelerator = random.one(of: [.any, .any, .kvm, .tcg])
    if random.chance(20) { request.cpuModel = random.one(of: ["EPYC", "Skylake"]) }
    if random.chance(25) { request.nodeSelector["gpu"] = "true" }
    if random.chance(25) { request.nodeSelector["rack"] = random.one(of: ["a", "b", "none"]) }
    if random.chance(30) { request.zone = random.one(of: ["a", "b", "c"]) }
    if random.chance(30) { request.pool = random.one(of: pools) }
    if random.chance(30) { request.image = random.one(of: images) }
    if !nodes.isEmpty {
      if random.chance(5) { request.node = random.one(of: nodes).id }
      if random.chance(15) { request.excluded = some() }
      if random.chance(15) { request.storage = some() }
      if random.chance(15) { request.affinity = some() }
      if random.chance(25) { request.antiAffinity = some() }
      if random.chance(15) { request.preferred = some() }
      if random.chance(15) { request.avoided = [random.one(of: nodes).id: 2] }
    }
    return request
  }

  private mutating func some() -> Set<UUID> {
    Set((0..<Int.random(in: 1...4, using: &random)).map { _ in random.one(of: nodes).id })
  }

  private mutating func amounts(
    vcpus: ClosedRange<Int>, memory: ClosedRange<Int>, disk: ClosedRange<Int>
  ) -> Capacity {
    Capacity(
      vcpus: .random(in: vcpus, using: &random), memoryMiB: .random(in: memory, using: &random),
      diskGiB: .random(in: disk, using: &random))
  }

  var inventory: Inventory {
    var inventory = Inventory()
    for node in nodes { inventory.upsert(node) }
    return inventory
  }
}

extension SeededGenerator {
  fileprivate static func fixed(_ index: Int, in generator: SeededGenerator) -> UUID {
    var other = SeededGenerator(seed: UInt64(index))
    return other.uuid()
  }
}

/// The rules once more, one node at a time and without any index: what the scan is compared with.
func firstObstacle(_ node: InventoryNode, _ request: PlacementRequest) -> Constraint? {
  if node.state != .ready { return .state }
  if let wanted = request.node, wanted != node.id { return .node }
  if request.excluded.contains(node.id) { return .excluded }
  if let storage = request.storage, !storage.contains(node.id) { return .storagePool }
  if let zone = request.zone, zone != node.zone { return .zone }
  if let pool = request.pool, pool != node.pool { return .pool }
  if let architecture = request.architecture, architecture != node.architecture { return .architecture }
  if request.accelerator != .any, request.accelerator.rawValue != node.accelerator.rawValue { return .accelerator }
  if let model = request.cpuModel, model != node.cpuModel { return .cpuModel }
  for (key, value) in request.nodeSelector.sorted(by: { $0.key < $1.key }) where node.labels[key] != value {
    return .label(key: key, value: value)
  }
  if !request.affinity.isEmpty, !request.affinity.contains(node.id) { return .affinity }
  if request.antiAffinity.contains(node.id) { return .antiAffinity }
  for resource in Resource.allCases {
    let ratio =
      switch resource {
      case .vcpus: node.overcommit.cpu
      case .memoryMiB: node.overcommit.memory
      case .diskGiB: node.overcommit.disk
      }
    let limit = max(0, (Double(node.capacity[resource] - node.reserved[resource]) * ratio).rounded(.down))
    if Double(node.claimed[resource] + request.need[resource]) > limit { return .resource(resource) }
  }
  return nil
}

extension Decision {
  var candidates: [Candidate] {
    switch self {
    case .placed(let candidates): candidates
    case .refused: []
    }
  }

  var refusal: Refusal? {
    switch self {
    case .placed: nil
    case .refused(let refusal): refusal
    }
  }
}
