import FoundationEssentials
import Testing

@testable import Placement

@Suite("Placement: random fleets against the rules written plainly")
struct PropertyTests {
  private static let seeds: [UInt64] = Array(1...120)

  @Test("every candidate satisfies every rule, and a refusal means that no node does", arguments: seeds)
  func sound(seed: UInt64) {
    var fleet = Fleet(seed: seed, nodes: Int(seed % 150))
    let inventory = fleet.inventory
    for _ in 0..<20 {
      let request = fleet.request()
      let fitting = Set(fleet.nodes.filter { firstObstacle($0, request) == nil }.map(\.id))
      switch place(inventory, request, seed: seed) {
      case .placed(let candidates):
        #expect(candidates.count == min(fitting.count, 8))
        #expect(Set(candidates.map(\.node)).count == candidates.count)
        #expect(candidates.allSatisfy { fitting.contains($0.node) })
        #expect(candidates.map(\.score) == candidates.map(\.score).sorted(by: >))
      case .refused: #expect(fitting.isEmpty)
      }
    }
  }

  @Test("a refusal counts each node once, at the first rule that takes it out", arguments: seeds)
  func counts(seed: UInt64) {
    var fleet = Fleet(seed: seed, nodes: Int(seed % 40))
    let inventory = fleet.inventory
    for _ in 0..<20 {
      let request = fleet.request()
      guard let refusal = place(inventory, request, seed: 1).refusal else { continue }
      var wanted: [Constraint: Int] = [:]
      for node in fleet.nodes { if let obstacle = firstObstacle(node, request) { wanted[obstacle, default: 0] += 1 } }
      #expect(refusal.totalNodes == fleet.nodes.count)
      #expect(Dictionary(uniqueKeysWithValues: refusal.removals.map { ($0.constraint, $0.nodes) }) == wanted)
      for node in fleet.nodes { #expect(!refusal.message.contains(node.id.uuidString)) }
    }
  }

  @Test("a suggested change makes the request fit, on as many nodes as it says", arguments: seeds)
  func suggestions(seed: UInt64) {
    var fleet = Fleet(seed: seed, nodes: Int(seed % 40))
    let inventory = fleet.inventory
    for _ in 0..<20 {
      let request = fleet.request()
      guard let refusal = place(inventory, request, seed: 1).refusal else { continue }
      for suggestion in refusal.suggestions { check(suggestion, request, fleet.nodes) }
      checkNoneIsMissing(refusal.suggestions, request, fleet.nodes)
    }
  }

  private func check(_ suggestion: Suggestion, _ request: PlacementRequest, _ nodes: [InventoryNode]) {
    let changed = suggestion.applied(to: request)
    let fitting = nodes.filter { firstObstacle($0, changed) == nil }.count
    switch suggestion {
    case .lower(let resource, let from, let to, let nodesThen):
      #expect(fitting == nodesThen && nodesThen > 0)
      #expect(to < from && from == request.need[resource])
      // One more would not do.
      var more = changed
      more.need[resource] += 1
      #expect(!nodes.contains { firstObstacle($0, more) == nil })
    case .lowerAll(_, let nodesThen): #expect(fitting == nodesThen && nodesThen > 0)
    case .drop(let constraint, _, let nodesThen, let alternatives):
      #expect(fitting == nodesThen && nodesThen > 0)
      for alternative in alternatives {
        var other = request
        if constraint == .zone { other.zone = alternative.value }
        if constraint == .architecture { other.architecture = alternative.value }
        #expect(nodes.filter { firstObstacle($0, other) == nil }.count == alternative.nodes)
      }
    case .whenReady(let nodesThen):
      let ready = nodes.map { node in
        var node = node
        node.state = .ready
        return node
      }
      #expect(ready.filter { firstObstacle($0, request) == nil }.count == nodesThen)
    }
  }

  /// Dropping any rule that would help alone must have been suggested.
  private func checkNoneIsMissing(
    _ suggestions: [Suggestion], _ request: PlacementRequest, _ nodes: [InventoryNode]
  ) {
    var withoutZone = request
    withoutZone.zone = nil
    let helps = request.zone != nil && nodes.contains { firstObstacle($0, withoutZone) == nil }
    let said = suggestions.contains { if case .drop(.zone, _, _, _) = $0 { true } else { false } }
    #expect(helps == said)
    var lighter = request
    lighter.need.memoryMiB = 1
    if request.need.memoryMiB > 1, nodes.contains(where: { firstObstacle($0, lighter) == nil }) {
      #expect(suggestions.contains { if case .lower(.memoryMiB, _, _, _) = $0 { true } else { false } })
    }
  }

  @Test(
    "the decision depends on the nodes and the seed, not on the order or history of the inventory", arguments: seeds)
  func deterministic(seed: UInt64) {
    var fleet = Fleet(seed: seed, nodes: Int(seed % 60))
    let requests = (0..<10).map { _ in fleet.request() }
    var other = Inventory()
    // Another history: strangers that go again, old versions of the nodes, another order.
    let strangers = (0..<10).map { _ in fleet.random.uuid() }
    for id in strangers { other.upsert(fleet.node(id)) }
    var nodes = fleet.nodes
    nodes.shuffle(using: &fleet.random)
    for node in nodes { other.upsert(fleet.node(node.id, revision: 0)) }
    for id in strangers { other.remove(id) }
    for node in nodes { other.upsert(node) }
    let inventory = fleet.inventory
    #expect(other.count == inventory.count)
    for request in requests {
      #expect(place(inventory, request, seed: seed) == place(other, request, seed: seed))
      #expect(explain(inventory, request) == explain(other, request))
    }
  }

  @Test("the explanation names for each node the rule that took it out", arguments: seeds.prefix(50))
  func explanation(seed: UInt64) {
    var fleet = Fleet(seed: seed, nodes: 30)
    let inventory = fleet.inventory
    let byID = Dictionary(uniqueKeysWithValues: fleet.nodes.map { ($0.id, $0) })
    for _ in 0..<10 {
      let request = fleet.request()
      let verdicts = explain(inventory, request)
      #expect(verdicts.count == fleet.nodes.count)
      for verdict in verdicts {
        let obstacle = byID[verdict.node].flatMap { firstObstacle($0, request) }
        switch verdict.outcome {
        case .fits: #expect(obstacle == nil)
        case .removed(let constraint, let reason):
          #expect(obstacle == constraint)
          #expect(!reason.isEmpty)
        }
      }
    }
  }

  @Test("placing until nothing fits fills nodes and never oversells one", arguments: InventoryNode.Strategy.allCases)
  func neverOversold(strategy: InventoryNode.Strategy) {
    var fleet = Fleet(seed: 99, nodes: 50)
    var inventory = fleet.inventory
    let policy = PlacementPolicy(strategy: strategy)
    var refused = 0
    for round in 0..<5_000 where refused < 50 {
      let request = fleet.request()
      guard let best = place(inventory, request, policy: policy, seed: UInt64(round)).candidates.first else {
        refused += 1
        continue
      }
      inventory.adjust(best.node, by: request.need)
    }
    for node in fleet.nodes {
      for resource in Resource.allCases where node.free[resource] >= 0 {
        #expect(inventory.node(node.id)?.free[resource] ?? -1 >= 0)
      }
    }
  }
}
