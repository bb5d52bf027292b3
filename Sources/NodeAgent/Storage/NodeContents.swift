import AloftModel

/// What is kept on a node, by whose it is.
public struct NodeContents: Sendable, Hashable {
  /// Virtual machines that have files.
  public var vms: Set<VMID>
  /// By the pools' names.
  public var pools: [String: PoolContents]

  public init(vms: Set<VMID> = [], pools: [String: PoolContents] = [:]) {
    self.vms = vms
    self.pools = pools
  }
}

/// What is in a storage pool.
public struct PoolContents: Sendable, Hashable {
  public var volumes: Set<VolumeID>
  /// What belongs to no volume, and what the pool will not remove by itself: files by their names in the pool.
  public var unowned: [String]
  /// What was found by comparing a pool that nodes share with what the cloud knows, in words.
  public var findings: [String]

  public init(volumes: Set<VolumeID> = [], unowned: [String] = [], findings: [String] = []) {
    self.volumes = volumes
    self.unowned = unowned
    self.findings = findings
  }
}
