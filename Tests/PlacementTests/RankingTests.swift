import FoundationEssentials
import Testing

@testable import Placement

@Suite("Placement: which of the nodes that fit")
struct RankingTests {
  private let pool = UUID()
  private let small = PlacementRequest(need: Capacity(vcpus: 2, memoryMiB: 4, diskGiB: 10))

  private func nodes(_ count: Int, strategy: InventoryNode.Strategy = .spread) -> [InventoryNode] {
    (0..<count).map { _ in
      InventoryNode(
        id: UUID(), pool: pool, capacity: Capacity(vcpus: 16, memoryMiB: 32, diskGiB: 1000), strategy: strategy)
    }
  }

  private func inventory(_ nodes: [InventoryNode]) -> Inventory {
    var inventory = Inventory()
    for node in nodes { inventory.upsert(node) }
    return inventory
  }

  /// Places equal requests one after another; returns how many each node got.
  private func fill(_ start: Inventory, _ request: PlacementRequest, times: Int) -> [UUID: Int] {
    var inventory = start
    var placed: [UUID: Int] = [:]
    for round in 0..<times {
      guard let best = place(inventory, request, seed: UInt64(round)).candidates.first else { break }
      placed[best.node, default: 0] += 1
      inventory.adjust(best.node, by: request.need)
    }
    return placed
  }

  @Test("pack opens a node only when the open ones are full")
  func pack() {
    let placed = fill(inventory(nodes(10, strategy: .pack)), small, times: 30)
    #expect(placed.values.sorted() == [6, 8, 8, 8])
  }

  @Test("spread gives every node its share")
  func spread() {
    let placed = fill(inventory(nodes(10)), small, times: 30)
    #expect(placed.values.sorted() == [Int](repeating: 3, count: 10))
  }

  @Test("different seeds choose among equal nodes about evenly, one seed always the same")
  func seeds() {
    let inventory = inventory(nodes(10))
    var first: [UUID: Int] = [:]
    for seed in 0..<1_000 as Range<UInt64> {
      let decision = place(inventory, small, seed: seed)
      #expect(decision == place(inventory, small, seed: seed))
      if let best = decision.candidates.first { first[best.node, default: 0] += 1 }
    }
    #expect(first.count == 10)
    #expect(first.values.allSatisfy { (50...160).contains($0) })
  }

  @Test("replicas that learned of the nodes in another order choose alike")
  func ties() {
    let fleet = nodes(20)
    for seed in 0..<20 as Range<UInt64> {
      #expect(place(inventory(fleet), small, seed: seed) == place(inventory(fleet.reversed()), small, seed: seed))
    }
  }

  @Test("nodes with a rare label or rare KVM are kept for requests that ask for it, until nothing else fits")
  func scarcity() {
    var fleet = nodes(10)
    fleet[0].labels = ["gpu": "true", "host": "0"]
    for index in 1..<10 {
      fleet[index].labels = ["host": "\(index)"]
      fleet[index].accelerator = .tcg
    }
    let inventory = inventory(fleet)
    // 9 plain nodes take 8 each; only then comes the scarce one.
    let placed = fill(inventory, small, times: 72)
    #expect(placed[fleet[0].id] == nil)
    #expect(fill(inventory, small, times: 80)[fleet[0].id] == 8)
    var wanting = small
    wanting.nodeSelector = ["gpu": "true"]
    wanting.accelerator = .kvm
    #expect(place(inventory, wanting, seed: 1).candidates.map(\.node) == [fleet[0].id])
  }

  @Test("where every node has KVM, nothing is held back for it")
  func commonKVM() {
    let fleet = nodes(4)
    #expect(Set(place(inventory(fleet), small, seed: 1).candidates.map(\.score)).count == 1)
  }

  @Test("a node that has the image comes first among like ones")
  func image() {
    let image = UUID()
    var fleet = nodes(10)
    fleet[3].cachedImages = [image]
    var request = small
    request.image = image
    #expect(place(inventory(fleet), request, seed: 1).candidates.first?.node == fleet[3].id)
  }

  @Test("soft rules order nodes and forbid none: preferred first, then by how many neighbours to avoid are there")
  func softAffinity() {
    let fleet = nodes(4)
    var request = small
    request.preferred = [fleet[2].id]
    request.avoided = [fleet[0].id: 1, fleet[1].id: 3]
    let order = place(inventory(fleet), request, seed: 1).candidates.map(\.node)
    #expect(order == [fleet[2].id, fleet[3].id, fleet[0].id, fleet[1].id])
  }

  @Test("spread prefers the node whose CPUs and memory end up even")
  func balance() {
    var fleet = nodes(2)
    fleet[0].claimed = Capacity(vcpus: 8, memoryMiB: 0)
    fleet[1].claimed = Capacity(vcpus: 8, memoryMiB: 12)
    #expect(place(inventory(fleet), small, seed: 1).candidates.first?.node == fleet[1].id)
  }

  @Test("a decision names as many candidates as the policy asks for, best first")
  func candidates() {
    var policy = PlacementPolicy(candidates: 3)
    let inventory = inventory(nodes(10))
    #expect(place(inventory, small, policy: policy, seed: 1).candidates.count == 3)
    policy.candidates = 0
    #expect(place(inventory, small, policy: policy, seed: 1).candidates.count == 1)
    policy.candidates = 100
    #expect(place(inventory, small, policy: policy, seed: 1).candidates.count == 10)
  }
}
