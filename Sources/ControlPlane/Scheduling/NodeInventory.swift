import AloftModel
import Foundation
import Placement
import Postgres

/// This replica's picture of the fleet, which placement chooses from.
///
/// It may be behind the database: a placement is a proposal, and the claim is checked again where it is committed. What keeps it
/// useful:
/// - What this replica claimed itself is counted at once.
/// - Nobody is refused from an old picture: all nodes are read anew first.
/// - However many ask, one reading is under way; those that must see what is there now share the one that begins next.
/// - A running replica whose picture is used keeps it young by itself (``run()``), and reads only what has changed.
actor NodeInventory {
  /// What a VM wants of a node.
  struct Wanted: Sendable {
    var vcpus: Int
    var memoryMiB: Int
    var diskGiB: Int
    /// Nil: any.
    var architecture: String? = "x86_64"
    var accelerator: AcceleratorChoice
    var nodeSelector: [String: String]
    var image: ImageID?
    /// It has NICs.
    var needsNetworks = false
    /// The nodes with room in the storage pool that it needs, if that is not the one that every node has.
    var storage: Set<UUID>?
    /// The volumes that it has already.
    var volumes = VolumePlaces()
  }

  /// Where volumes can be used.
  struct VolumePlaces: Sendable {
    /// Of those in pools that nodes do not share.
    var nodes: Set<UUID> = []
    /// Of the others.
    var pools: Set<UUID> = []

    mutating func add(_ volume: VolumeRecord) {
      if !volume.pool.isLocal {
        pools.insert(volume.pool.id.uuid)
      } else if let node = volume.nodeID {
        nodes.insert(node.uuid)
      }
    }
  }

  enum Answer: Sendable {
    /// Nodes that fit, best first.
    case placed([NodeID])
    case refused(PlacementRefusal)
  }

  /// How old the picture may be for choosing.
  static let staleAfter = 1.0
  /// How old it may be before all nodes are read and not only those that changed: that finds what is gone, and other ratios.
  static let wholeAfter = 10.0
  static let tick = Duration.milliseconds(500)

  private let database: Database
  private let environment: Environment
  private var inventory = Inventory()
  /// Readings of the database, counted when they begin.
  private var begun: Int64 = 0
  /// The newest reading that was applied.
  private var applied: Int64 = 0
  private var loadedAt: TimeInterval?
  /// When all nodes were read last, and behind which transaction everything that changed since is.
  private var wholeAt: TimeInterval?
  private var mark: NodeChanges.Mark?
  private var current: Task<Void, any Error>?
  private var next: Task<Void, any Error>?
  /// Somebody chose from the picture since it was read.
  private var isUsed = false

  init(database: Database, environment: Environment) {
    self.database = database
    self.environment = environment
  }

  /// Chooses nodes. With `fresh` it looks at the database first, as it does before it refuses.
  func place(_ wanted: Wanted, fresh: Bool, seed: UInt64) async throws -> Answer {
    let request = request(for: wanted)
    isUsed = true
    if fresh { try await readAnew() } else if isStale { try await catchUp() }
    var decision = Placement.place(inventory, request, seed: seed)
    if case .refused = decision, !fresh {
      try await readAnew()
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
    return environment.uptime() - loadedAt >= Self.staleAfter
  }

  private func capacity(of wanted: Wanted) -> Capacity {
    Capacity(vcpus: wanted.vcpus, memoryMiB: wanted.memoryMiB, diskGiB: wanted.diskGiB)
  }

  private func request(for wanted: Wanted) -> PlacementRequest {
    PlacementRequest(
      need: capacity(of: wanted), architecture: wanted.architecture,
      accelerator: .init(rawValue: wanted.accelerator.rawValue) ?? .any,
      nodeSelector: wanted.nodeSelector, image: wanted.image?.uuid, storage: wanted.storage,
      needsNetworks: wanted.needsNetworks, pinned: wanted.volumes.nodes, storagePools: wanted.volumes.pools)
  }

  // MARK: Reading

  /// Keeps a picture that is used younger than ``staleAfter``, so that no create waits for it. Runs until cancelled.
  func run() async {
    while !Task.isCancelled {
      do {
        try await environment.sleep(Self.tick)
        guard isUsed else { continue }
        isUsed = false
        try await catchUp()
      } catch is CancellationError {
        return
      } catch {
        // Whoever creates a VM next hears of it.
        isUsed = false
      }
    }
  }

  /// Waits for the reading under way, or begins one.
  private func catchUp() async throws {
    try await (current ?? begin(whole: mustReadAll)).value
  }

  /// Waits for a reading of all nodes that begins from now on.
  private func readAnew() async throws {
    guard let current else { return try await begin(whole: true).value }
    let following =
      next
      ?? Task {
        _ = await current.result
        try await self.begin(whole: true).value
      }
    next = following
    try await following.value
  }

  private var mustReadAll: Bool {
    guard let wholeAt, mark != nil else { return true }
    return environment.uptime() - wholeAt >= Self.wholeAfter
  }

  private func begin(whole: Bool) -> Task<Void, any Error> {
    next = nil
    begun += 1
    let reading = Task { [mark, begun] in
      defer { if begun == self.begun { current = nil } }
      apply(try await NodeChanges.read(since: whole ? nil : mark, database), reading: begun, whole: whole)
    }
    current = reading
    return reading
  }

  /// Readings are applied in the order in which they began.
  private func apply(_ changes: NodeChanges, reading: Int64, whole: Bool) {
    guard reading > applied else { return }
    applied = reading
    for var node in changes.nodes {
      node.revision = reading
      inventory.upsert(node)
    }
    mark = changes.mark
    loadedAt = environment.uptime()
    guard whole else { return }
    wholeAt = loadedAt
    let present = Set(changes.nodes.map(\.id))
    for gone in inventory.nodes.map(\.id) where !present.contains(gone) { inventory.remove(gone) }
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
