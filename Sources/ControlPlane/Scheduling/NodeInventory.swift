import AloftModel
import Foundation
import JSON
import Placement
import Postgres

/// This replica's picture of the fleet, which placement chooses from.
///
/// It may be behind the database: a placement is a proposal, and the claim is checked again where it is committed. Two rules keep
/// it useful: what this replica claimed itself is counted at once, and nobody is refused from an old picture.
actor NodeInventory {
  /// What a VM wants of a node.
  struct Wanted: Sendable {
    var vcpus: Int
    var memoryMiB: Int
    var diskGiB: Int
    var architecture = "x86_64"
    var accelerator: AcceleratorChoice
    var nodeSelector: [String: String]
    var image: ImageID?
  }

  enum Answer: Sendable {
    /// Nodes that fit, best first.
    case placed([NodeID])
    case refused(PlacementRefusal)
  }

  /// How old the picture may be for choosing.
  static let staleAfter = 1.0

  private let database: Database
  private let environment: Environment
  private var inventory = Inventory()
  /// Readings of the database, counted when they begin.
  private var started: Int64 = 0
  /// The newest reading that was applied.
  private var loads: Int64 = 0
  private var loadedAt: Date?

  init(database: Database, environment: Environment) {
    self.database = database
    self.environment = environment
  }

  /// Chooses nodes. With `fresh` it looks at the database first, as it does before it refuses.
  func place(_ wanted: Wanted, fresh: Bool, seed: UInt64) async throws -> Answer {
    let request = request(for: wanted)
    var current = fresh
    if fresh || isStale {
      try await refresh()
      current = true
    }
    var decision = Placement.place(inventory, request, seed: seed)
    if case .refused = decision, !current {
      try await refresh()
      decision = Placement.place(inventory, request, seed: seed)
    }
    switch decision {
    case .placed(let candidates): return .placed(candidates.map { NodeID($0.node) })
    case .refused(let refusal): return .refused(PlacementRefusal(refusal))
    }
  }

  /// Counts a claim that this replica has just committed.
  func claimed(_ wanted: Wanted, on node: NodeID) {
    inventory.adjust(node.uuid, by: capacity(of: wanted))
  }

  private var isStale: Bool {
    guard let loadedAt else { return true }
    return environment.now().timeIntervalSince(loadedAt) >= Self.staleAfter
  }

  private func capacity(of wanted: Wanted) -> Capacity {
    Capacity(vcpus: wanted.vcpus, memoryMiB: wanted.memoryMiB, diskGiB: wanted.diskGiB)
  }

  private func request(for wanted: Wanted) -> PlacementRequest {
    PlacementRequest(
      need: capacity(of: wanted), architecture: wanted.architecture,
      accelerator: .init(rawValue: wanted.accelerator.rawValue) ?? .any,
      nodeSelector: wanted.nodeSelector, image: wanted.image?.uuid)
  }

  /// Reads all nodes. Readings that overlap are applied in the order in which they began.
  private func refresh() async throws {
    started += 1
    let reading = started
    let nodes = try await database.run { session in try Self.load(in: session) }
    guard reading > loads else { return }
    loads = reading
    var present: Set<UUID> = []
    for var node in nodes {
      node.revision = loads
      present.insert(node.id)
      inventory.upsert(node)
    }
    for gone in inventory.nodes.map(\.id) where !present.contains(gone) { inventory.remove(gone) }
    loadedAt = environment.now()
  }

  private static func load(in session: Session) throws -> [InventoryNode] {
    try session.query(
      """
      SELECT n.id, n.schedulable, n.down_since IS NULL AND coalesce(l.expires_at > aloft_now(), true), n.pool_id, n.labels,
             n.architecture, n.accelerator, n.vcpus, n.memory_mib, n.disk_gib,
             n.vcpus_claimed, n.memory_mib_claimed, n.disk_gib_claimed,
             s.cpu_overcommit, s.memory_overcommit, s.disk_overcommit, s.strategy
        FROM nodes n JOIN node_pools s ON s.id = n.pool_id LEFT JOIN node_leases l ON l.node_id = n.id
      """
    ).map { row in
      let state: InventoryNode.State = try row.get(2) ? (try row.get(1) ? .ready : .cordoned) : .down
      return InventoryNode(
        id: try row.get(0), revision: 0, state: state, pool: try row.get(3),
        labels: try labels(try row.get(4, as: JSONText.self).text), architecture: try row.get(5),
        accelerator: InventoryNode.Accelerator(rawValue: try row.get(6)) ?? .tcg,
        capacity: Capacity(vcpus: try row.get(7), memoryMiB: try row.get(8), diskGiB: try row.get(9)),
        claimed: Capacity(vcpus: try row.get(10), memoryMiB: try row.get(11), diskGiB: try row.get(12)),
        overcommit: InventoryNode.Overcommit(cpu: try row.get(13), memory: try row.get(14), disk: try row.get(15)),
        strategy: InventoryNode.Strategy(rawValue: try row.get(16)) ?? .spread)
    }
  }

  private static func labels(_ json: String) throws -> [String: String] {
    json == "{}" ? [:] : try JSONCoder.decode([String: String].self, from: Array(json.utf8))
  }
}

extension PlacementRefusal {
  init(_ refusal: Refusal) {
    self.init(
      nodes: refusal.totalNodes,
      removed: refusal.removals.map {
        Removal(constraint: $0.constraint.code, nodes: $0.nodes, reason: $0.requirement)
      },
      hints: refusal.suggestions.map(\.message))
  }
}
