import FoundationEssentials

/// What placement knows of one node: a row of the inventory.
public struct InventoryNode: Sendable, Equatable {
  /// Whether new VMs may come, and if not, why.
  public enum State: String, Sendable, CaseIterable {
    case ready, cordoned, draining, down, joining
  }

  /// How the node virtualizes CPUs.
  public enum Accelerator: String, Sendable, CaseIterable {
    case kvm, tcg
  }

  /// How the node's pool wants new VMs to be laid out.
  public enum Strategy: String, Sendable, CaseIterable {
    /// As few nodes as possible.
    case pack
    /// The emptiest node.
    case spread
  }

  /// Virtual amounts promised for each real one (4 = four vCPUs for each CPU).
  public struct Overcommit: Sendable, Equatable {
    /// vCPUs per CPU.
    public var cpu: Double
    /// MiB promised per MiB.
    public var memory: Double
    /// GiB promised per GiB.
    public var disk: Double

    /// Makes ratios; 1 promises what there is.
    public init(cpu: Double = 1, memory: Double = 1, disk: Double = 1) {
      self.cpu = cpu
      self.memory = memory
      self.disk = disk
    }
  }

  public var id: UUID
  /// Grows with every change of the row; an older one than the inventory has is ignored.
  public var revision: Int64
  public var state: State
  /// Failure domain; nil when the node has none.
  public var zone: String?
  public var pool: UUID
  public var labels: [String: String]
  /// As QEMU names it: `x86_64`, `aarch64`.
  public var architecture: String
  public var accelerator: Accelerator
  /// libvirt's name of the host's CPU model; nil when unknown.
  public var cpuModel: String?
  /// What the machine has.
  public var capacity: Capacity
  /// What VMs hold.
  public var claimed: Capacity
  /// Real amounts kept from VMs (for the host itself).
  public var reserved: Capacity
  public var overcommit: Overcommit
  /// Images whose content the node has already.
  public var cachedImages: Set<UUID>
  public var strategy: Strategy
  /// It can connect VMs to networks.
  public var hasNetworks: Bool
  /// The storage pools that nodes share and that it reaches.
  public var storagePools: Set<UUID>

  /// Makes a record; what is left out has the plainest value.
  public init(
    id: UUID, revision: Int64 = 1, state: State = .ready, zone: String? = nil, pool: UUID,
    labels: [String: String] = [:], architecture: String = "x86_64", accelerator: Accelerator = .kvm,
    cpuModel: String? = nil, capacity: Capacity, claimed: Capacity = Capacity(), reserved: Capacity = Capacity(),
    overcommit: Overcommit = Overcommit(), cachedImages: Set<UUID> = [], strategy: Strategy = .spread,
    hasNetworks: Bool = false, storagePools: Set<UUID> = []
  ) {
    self.storagePools = storagePools
    self.hasNetworks = hasNetworks
    self.id = id
    self.revision = revision
    self.state = state
    self.zone = zone
    self.pool = pool
    self.labels = labels
    self.architecture = architecture
    self.accelerator = accelerator
    self.cpuModel = cpuModel
    self.capacity = capacity
    self.claimed = claimed
    self.reserved = reserved
    self.overcommit = overcommit
    self.cachedImages = cachedImages
    self.strategy = strategy
  }

  /// What VMs may hold altogether: `floor((capacity − reserved) × ratio)`, the limit that the database enforces too.
  public var limit: Capacity {
    Capacity(
      vcpus: capacity.vcpus.clampedSubtracting(reserved.vcpus).scaled(by: overcommit.cpu),
      memoryMiB: capacity.memoryMiB.clampedSubtracting(reserved.memoryMiB).scaled(by: overcommit.memory),
      diskGiB: capacity.diskGiB.clampedSubtracting(reserved.diskGiB).scaled(by: overcommit.disk))
  }

  /// What a new VM may still take; negative when a ratio was lowered below what is claimed.
  public var free: Capacity {
    let limit = limit
    return Capacity(
      vcpus: limit.vcpus.clampedSubtracting(claimed.vcpus),
      memoryMiB: limit.memoryMiB.clampedSubtracting(claimed.memoryMiB),
      diskGiB: limit.diskGiB.clampedSubtracting(claimed.diskGiB))
  }
}
