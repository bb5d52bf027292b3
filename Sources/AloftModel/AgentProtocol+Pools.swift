// How a node looks through a storage pool that nodes share. What is there of others it cannot tell from what nobody needs; the control
// plane can.
//
//   GET  /agent/v1/pools/{name}            ``SharedPoolTurn``
//   POST /agent/v1/pools/{name}/contents   ``SharedPoolContents`` → ``SharedPoolDifferences``

/// Whether it is the node's turn to look: one that reaches the pool is enough.
public struct SharedPoolTurn: Sendable, Codable, Equatable {
  public var look: Bool

  public init(look: Bool) { self.look = look }
}

/// What a node has seen in a pool.
public struct SharedPoolContents: Sendable, Codable, Equatable {
  public var volumes: [VolumeID]
  public var snapshots: [SnapshotID]

  public init(volumes: [VolumeID], snapshots: [SnapshotID]) {
    self.volumes = volumes
    self.snapshots = snapshots
  }
}

/// What the database says otherwise, as it was when it was asked.
public struct SharedPoolDifferences: Sendable, Codable, Equatable {
  /// Those of the volumes that the cloud does not have.
  public var unknownVolumes: [VolumeID]
  /// Those of the snapshots that it does not have, or not any more.
  public var unknownSnapshots: [SnapshotID]
  /// Volumes of the pool that were made, and were not seen.
  public var missing: [VolumeID]

  public init(unknownVolumes: [VolumeID] = [], unknownSnapshots: [SnapshotID] = [], missing: [VolumeID] = []) {
    self.unknownVolumes = unknownVolumes
    self.unknownSnapshots = unknownSnapshots
    self.missing = missing
  }
}
