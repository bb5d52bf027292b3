import FoundationEssentials

/// What one VM needs of a node.
public struct PlacementRequest: Sendable, Equatable {
  /// What the VM can run on.
  public enum Accelerator: String, Sendable, CaseIterable {
    case any, kvm, tcg
  }

  /// What the VM will claim. Negative amounts count as 0.
  public var need: Capacity
  /// nil: any.
  public var architecture: String?
  public var accelerator: Accelerator
  /// The host CPU model it must find (a VM that shall migrate live); nil: any.
  public var cpuModel: String?
  /// Labels the node must carry, all of them.
  public var nodeSelector: [String: String]
  public var zone: String?
  public var pool: UUID?
  /// Where its volumes are that are in pools of one node each: only there. More than one leave no node; empty: it has none.
  public var pinned: Set<UUID>
  /// The pools that nodes share and in which it has volumes: only nodes that reach all of them.
  public var storagePools: Set<UUID>
  /// It has to be connected to networks.
  public var needsNetworks: Bool
  /// Nodes that have this image already are preferred.
  public var image: UUID?
  /// Only this node.
  public var node: UUID?
  /// Nodes that may not be chosen (a lost race, a drain, a failed start).
  public var excluded: Set<UUID>
  /// Only these nodes (those with room in the storage pool that it needs); nil: any.
  public var storage: Set<UUID>?
  /// Only these nodes (where the VMs are that it must be with); empty: no such rule.
  public var affinity: Set<UUID>
  /// Not these nodes (where the VMs are that it must be apart from).
  public var antiAffinity: Set<UUID>
  /// Rather these nodes.
  public var preferred: Set<UUID>
  /// Rather not these nodes: the number is how many VMs are there that it should be apart from.
  public var avoided: [UUID: Int]

  /// Makes a request; what is left out asks for nothing.
  public init(
    need: Capacity, architecture: String? = nil, accelerator: Accelerator = .any, cpuModel: String? = nil,
    nodeSelector: [String: String] = [:], zone: String? = nil, pool: UUID? = nil, image: UUID? = nil,
    node: UUID? = nil, excluded: Set<UUID> = [], storage: Set<UUID>? = nil, affinity: Set<UUID> = [],
    antiAffinity: Set<UUID> = [], preferred: Set<UUID> = [], avoided: [UUID: Int] = [:], needsNetworks: Bool = false,
    pinned: Set<UUID> = [], storagePools: Set<UUID> = []
  ) {
    self.pinned = pinned
    self.storagePools = storagePools
    self.needsNetworks = needsNetworks
    self.need = need
    self.architecture = architecture
    self.accelerator = accelerator
    self.cpuModel = cpuModel
    self.nodeSelector = nodeSelector
    self.zone = zone
    self.pool = pool
    self.image = image
    self.node = node
    self.excluded = excluded
    self.storage = storage
    self.affinity = affinity
    self.antiAffinity = antiAffinity
    self.preferred = preferred
    self.avoided = avoided
  }
}

/// How nodes that fit are ranked. Weights multiply values between 0 and 1.
public struct PlacementPolicy: Sendable, Equatable {
  /// How many candidates a decision names at most: what a caller tries one after another on lost races.
  public var candidates: Int
  /// Instead of each node's own strategy.
  public var strategy: InventoryNode.Strategy?
  /// How much the strategy (pack or spread) counts.
  public var strategyWeight: Double
  /// Against nodes whose CPUs and memory would be used unevenly. Above 0.4, `pack` may open an empty node for balance.
  public var balanceWeight: Double
  /// Against nodes with labels or KVM that few nodes have and the request does not ask for.
  public var scarcityWeight: Double
  /// For nodes that have the image.
  public var imageWeight: Double
  /// For preferred and against avoided nodes.
  public var affinityWeight: Double

  /// Makes a policy; the defaults let soft affinity win over scarcity, and scarcity over everything else.
  public init(
    candidates: Int = 8, strategy: InventoryNode.Strategy? = nil, strategyWeight: Double = 1,
    balanceWeight: Double = 0.25, scarcityWeight: Double = 2, imageWeight: Double = 0.2, affinityWeight: Double = 4
  ) {
    self.candidates = candidates
    self.strategy = strategy
    self.strategyWeight = strategyWeight
    self.balanceWeight = balanceWeight
    self.scarcityWeight = scarcityWeight
    self.imageWeight = imageWeight
    self.affinityWeight = affinityWeight
  }
}
