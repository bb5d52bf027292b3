import FoundationEssentials
import Testing

@testable import Placement

@Suite("Placement: where a machine's volumes are")
struct VolumesTests {
  private let pool = UUID()
  private let shared = UUID()
  private let other = UUID()

  private func node(_ pools: Set<UUID>, state: InventoryNode.State = .ready) -> InventoryNode {
    InventoryNode(
      id: UUID(), state: state, pool: pool, capacity: Capacity(vcpus: 4, memoryMiB: 4, diskGiB: 4), storagePools: pools)
  }

  private func inventory(_ nodes: InventoryNode...) -> Inventory {
    nodes.reduce(into: Inventory()) { $0.upsert($1) }
  }

  private func request(pinned: Set<UUID> = [], pools: Set<UUID> = []) -> PlacementRequest {
    PlacementRequest(need: Capacity(vcpus: 1, memoryMiB: 1, diskGiB: 1), pinned: pinned, storagePools: pools)
  }

  @Test("volumes in shared pools leave the nodes that reach all of them; others leave their node")
  func placed() {
    let (none, one, both) = (node([]), node([shared]), node([shared, other]))
    let inventory = inventory(none, one, both)
    func nodes(_ request: PlacementRequest) -> Set<UUID> {
      Set(place(inventory, request, seed: 1).candidates.map(\.node))
    }
    #expect(nodes(request(pools: [shared])) == [one.id, both.id])
    #expect(nodes(request(pools: [shared, other])) == [both.id])
    #expect(nodes(request(pinned: [none.id])) == [none.id])
    #expect(nodes(request(pinned: [one.id], pools: [shared])) == [one.id])
    #expect(nodes(request(pinned: [none.id], pools: [shared])) == [])
    #expect(nodes(request(pinned: [none.id, one.id])) == [])
  }

  @Test("a refusal says that volumes pin, and a node that loses its pool is not chosen any more")
  func refused() throws {
    let (home, away) = (node([shared], state: .down), node([]))
    var inventory = inventory(home, away)
    guard case .refused(let refusal) = place(inventory, request(pinned: [home.id]), seed: 1) else {
      Issue.record("it was placed")
      return
    }
    let removal = try #require(refusal.removals.first { $0.constraint == .volumes })
    #expect(removal.nodes == 1 && removal.requirement.contains("nodes do not share"))
    let verdict = explain(inventory, request(pools: [shared])).first { $0.node == away.id }
    #expect(
      verdict?.outcome
        == .removed(by: .volumes, reason: "the node does not reach a shared pool in which it has volumes"))

    var reached = away
    reached.storagePools = [shared]
    reached.revision = 2
    inventory.upsert(reached)
    #expect(place(inventory, request(pools: [shared]), seed: 1).candidates.map(\.node) == [away.id])
    reached.storagePools = []
    reached.revision = 3
    inventory.upsert(reached)
    #expect(place(inventory, request(pools: [shared]), seed: 1).candidates.isEmpty)
  }
}
