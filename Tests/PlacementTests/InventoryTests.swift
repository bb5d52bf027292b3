import FoundationEssentials
import Testing

@testable import Placement

@Suite("Placement: the inventory")
struct InventoryTests {
  private let node = InventoryNode(
    id: UUID(), revision: 5, zone: "a", pool: UUID(), labels: ["gpu": "true"],
    capacity: Capacity(vcpus: 4, memoryMiB: 1000, diskGiB: 10), claimed: Capacity(vcpus: 1, memoryMiB: 100, diskGiB: 1),
    reserved: Capacity(memoryMiB: 100), overcommit: .init(cpu: 1.5, memory: 0.5))

  @Test("what is free is floor((capacity − reserved) × ratio) − claimed")
  func free() {
    #expect(node.limit == Capacity(vcpus: 6, memoryMiB: 450, diskGiB: 10))
    #expect(node.free == Capacity(vcpus: 5, memoryMiB: 350, diskGiB: 9))
  }

  @Test("old news is ignored, also after the node was removed")
  func revisions() {
    var inventory = Inventory()
    var other = node
    other.zone = "b"
    var stored = [inventory.upsert(node), inventory.upsert(other)]
    other.revision = 4
    stored.append(inventory.upsert(other))
    #expect(stored == [true, false, false])
    #expect(inventory.node(node.id)?.zone == "a")
    other.revision = 6
    stored = [inventory.upsert(other)]
    #expect(inventory.node(node.id)?.zone == "b")
    inventory.remove(node.id, revision: 8)
    other.revision = 8
    stored.append(inventory.upsert(other))
    #expect(inventory.count == 0)
    other.revision = 9
    stored.append(inventory.upsert(other))
    #expect(stored == [true, false, true])
    inventory.remove(UUID())
    #expect(inventory.count == 1)
  }

  @Test("a change of any one property is seen as if the node had always been so")
  func everyProperty() {
    let image = UUID()
    let changes: [(inout InventoryNode) -> Void] = [
      { $0.state = .cordoned }, { $0.zone = "b" }, { $0.zone = nil }, { $0.pool = UUID() }, { $0.labels = [:] },
      { $0.labels = ["gpu": "false", "ssd": "yes"] }, { $0.architecture = "aarch64" }, { $0.accelerator = .tcg },
      { $0.cpuModel = "EPYC" }, { $0.capacity.vcpus = 8 }, { $0.claimed.memoryMiB = 350 }, { $0.reserved.diskGiB = 9 },
      { $0.overcommit.cpu = 3 }, { $0.cachedImages = [image] }, { $0.strategy = .pack },
    ]
    let other = InventoryNode(id: UUID(), pool: node.pool, capacity: Capacity(vcpus: 9, memoryMiB: 900, diskGiB: 9))
    let requests = [
      PlacementRequest(need: Capacity(vcpus: 1, memoryMiB: 100, diskGiB: 1), image: image),
      PlacementRequest(need: Capacity(vcpus: 6)), PlacementRequest(need: Capacity(diskGiB: 1), architecture: "x86_64"),
      PlacementRequest(need: Capacity(), nodeSelector: ["gpu": "true"]), PlacementRequest(need: Capacity(), zone: "a"),
      PlacementRequest(need: Capacity(), nodeSelector: ["ssd": "yes"]), PlacementRequest(need: Capacity(), zone: "b"),
      PlacementRequest(need: Capacity(), pool: node.pool), PlacementRequest(need: Capacity(), accelerator: .kvm),
      PlacementRequest(need: Capacity(), cpuModel: "EPYC"), PlacementRequest(need: Capacity(), accelerator: .tcg),
    ]
    for change in changes {
      var changed = node
      change(&changed)
      changed.revision += 1
      var updated = Inventory()
      for node in [node, other, changed] { updated.upsert(node) }
      var fresh = Inventory()
      for node in [changed, other] { fresh.upsert(node) }
      for request in requests { #expect(explain(updated, request) == explain(fresh, request)) }
    }
  }

  @Test("an adjustment counts at once and ends with the row's next revision")
  func adjustment() {
    var inventory = Inventory()
    inventory.upsert(node)
    let all = PlacementRequest(need: node.free)
    #expect(place(inventory, all, seed: 1).refusal == nil)
    inventory.adjust(node.id, by: Capacity(vcpus: 1))
    #expect(place(inventory, all, seed: 1).refusal?.suggestions == [.lower(.vcpus, from: 5, to: 4, nodes: 1)])
    var next = node
    next.revision += 1
    inventory.upsert(next)
    #expect(place(inventory, all, seed: 1).refusal == nil)
    inventory.adjust(UUID(), by: Capacity(vcpus: 1))
  }

  @Test("amounts and ratios at the edge of their types neither trap nor fit")
  func extremes() {
    var inventory = Inventory()
    var odd = node
    odd.capacity = Capacity(vcpus: .max, memoryMiB: .min, diskGiB: .max)
    odd.claimed = Capacity(vcpus: .min, memoryMiB: .max, diskGiB: .max)
    odd.reserved = Capacity(vcpus: .min, memoryMiB: .min, diskGiB: .max)
    for ratio in [Double.nan, .infinity, -1, 0, 1e300] {
      odd.overcommit = .init(cpu: ratio, memory: ratio, disk: ratio)
      odd.revision += 1
      inventory.upsert(odd)
      inventory.adjust(odd.id, by: Capacity(vcpus: .max, memoryMiB: .max, diskGiB: .min))
      for amount in [Int.min, -1, 0, .max] {
        let request = PlacementRequest(need: Capacity(vcpus: amount, memoryMiB: amount, diskGiB: amount))
        if amount == .max { #expect(place(inventory, request, seed: 1).refusal != nil) }
        _ = explain(inventory, request)
      }
    }
  }

  @Test("without nodes the refusal says so")
  func empty() {
    let refusal = place(Inventory(), PlacementRequest(need: Capacity(vcpus: 1)), seed: 1).refusal
    #expect(refusal == Refusal(totalNodes: 0, removals: [], suggestions: []))
    #expect(refusal?.message == "there are no nodes")
  }

  @Test("a refusal reads like a sentence: what was ruled out by what, and what would fit")
  func message() {
    var inventory = Inventory()
    inventory.upsert(node)
    var down = node
    down.id = UUID()
    down.state = .down
    inventory.upsert(down)
    let request = PlacementRequest(need: Capacity(vcpus: 1, memoryMiB: 300), nodeSelector: ["ssd": "yes"], zone: "a")
    #expect(
      place(inventory, request, seed: 1).refusal?.message
        == "none of 2 nodes fits; ruled out: 1 by state (the node takes new virtual machines), 1 by label (label ssd=yes). "
        + "It would fit: without the requirement \"label ssd=yes\" on 1 node")
    let big = PlacementRequest(need: Capacity(vcpus: 9, memoryMiB: 9000), zone: "a")
    #expect(
      place(inventory, big, seed: 1).refusal?.suggestions
        == [.lowerAll(to: Capacity(vcpus: 5, memoryMiB: 350), nodes: 1)])
    let zone = PlacementRequest(need: Capacity(vcpus: 1), zone: "b")
    #expect(
      place(inventory, zone, seed: 1).refusal?.suggestions
        == [.drop(.zone, requirement: "zone b", nodes: 1, alternatives: [.init(value: "a", nodes: 1)])])
  }
}
