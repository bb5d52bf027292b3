import AloftModel

/// What QEMU opens as a disk.
public enum DiskSource: Sendable, Hashable {
  /// A qcow2 file.
  case file(String)
  /// An image of a Ceph cluster: `pool/image`. The names of Aloft's images are different in all clusters.
  case rbd(String)

  /// What it is called in what is written down.
  public var path: String {
    switch self {
    case .file(let path): path
    case .rbd(let name): "rbd:" + name
    }
  }
}

/// What a pool has of one volume.
public enum VolumeLook: Sendable, Hashable {
  case absent
  /// Something of it is missing or cannot be read; says what.
  case damaged(String)
  case whole(StoredVolume)
}

/// A volume as its pool keeps it.
public struct StoredVolume: Sendable, Hashable {
  public struct Snapshot: Sendable, Hashable {
    public var id: SnapshotID
    /// Milliseconds since 1970; nil: begun, and not taken while a guest still writes below it.
    public var takenAt: Int?
    public var quiesced: Bool
    /// How much the file with the guest's memory takes, if it has one and that is whole.
    public var memoryBytes: Int?

    public init(id: SnapshotID, takenAt: Int?, quiesced: Bool, memoryBytes: Int? = nil) {
      self.memoryBytes = memoryBytes
      self.id = id
      self.takenAt = takenAt
      self.quiesced = quiesced
    }
  }

  public var epoch: Int
  public var sizeBytes: Int
  /// What its own data takes in the pool.
  public var usedBytes: Int
  public var snapshots: [Snapshot]
  /// What a guest reads and writes.
  public var source: DiskSource
  /// The layer under it.
  public var below: DiskSource?
  /// What a guest may have open for writing all the same, while a snapshot is begun and not taken.
  public var earlier: [DiskSource]
  /// How many layers there are between the guest's data and the image.
  public var depth: Int
  /// Data that nobody can ask for any more, and that can be made part of the layer above it.
  public var merge: LayerMerge?
  /// What a guest's QEMU makes one, or made one and may not have written down.
  public var pull: LayerPull?
  /// What QEMU has to be told of its layers; nil: they are not encrypted.
  public var encryption: DiskEncryption?

  public init(
    epoch: Int = 0, sizeBytes: Int, usedBytes: Int = 0, snapshots: [Snapshot] = [], source: DiskSource,
    below: DiskSource? = nil, earlier: [DiskSource] = [], depth: Int = 1, merge: LayerMerge? = nil,
    pull: LayerPull? = nil, encryption: DiskEncryption? = nil
  ) {
    self.pull = pull
    self.encryption = encryption
    self.epoch = epoch
    self.sizeBytes = sizeBytes
    self.usedBytes = usedBytes
    self.snapshots = snapshots
    self.source = source
    self.below = below
    self.earlier = earlier
    self.depth = depth
    self.merge = merge
  }
}

/// Two layers that can become one.
public struct LayerMerge: Sendable, Hashable {
  /// Named by nobody, with one layer above it.
  public var layer: String
  public var child: String
  /// The same as what QEMU opens.
  public var layerSource: DiskSource
  public var childSource: DiskSource
  /// The volumes that read through them, and what their guests have open.
  public var volumes: [VolumeID]
  public var tops: [DiskSource]

  public init(
    layer: String, child: String, layerSource: DiskSource, childSource: DiskSource, volumes: [VolumeID],
    tops: [DiskSource]
  ) {
    self.layer = layer
    self.child = child
    self.layerSource = layerSource
    self.childSource = childSource
    self.volumes = volumes
    self.tops = tops
  }
}

/// Two layers that a guest's QEMU was told to make one.
public struct LayerPull: Sendable, Hashable {
  public var merge: LayerMerge
  /// The upper one's file says that it has all: QEMU may still have a part of that in its memory alone.
  public var isCopied: Bool

  public init(merge: LayerMerge, isCopied: Bool) {
    self.merge = merge
    self.isCopied = isCopied
  }
}

/// One storage pool: where volumes, their snapshots and cached images are.
///
/// Every call may be repeated: what is there already is not made again, what is gone is not missed. A call that was cut off
/// by the host's death has happened or not, and can be repeated after the pool was opened again. Callers see to it that only
/// one call at a time is about a volume, and that no guest has it open where that is said.
public protocol VolumeBackend: Sendable {
  /// How the pool's cluster is reached; nil: it is on this host.
  var access: CephAccess? { get }
  /// A snapshot is not a new layer that guests go over to, but is taken where they write: see ``captureSnapshot(_:of:)``.
  var takesSnapshotsInPlace: Bool { get }
  func status() async -> NodeStoragePool
  /// What a volume's layers are locked with, before anything is done for which they are opened or made. It is kept in memory only.
  func unlock(_ volume: VolumeID, with key: VolumeKey) async throws(AgentFailure)
  func hasImage(_ sha256: String) async -> Bool
  /// Brings an image into the cache; what does not have the promised digest is not kept.
  func fetch(
    _ image: Assignment.BaseImage, from source: ImageSource, progress: @escaping @Sendable (Int) -> Void
  ) async throws(AgentFailure)
  /// Removes cached images that no volume reads through, and that are not among `wanted`, once that has been so for an hour; at once
  /// when the pool is nearly full.
  ///
  /// - Parameter uptime: milliseconds of a clock that never goes back.
  func removeImages(but wanted: Set<String>, uptime: Int) async throws(AgentFailure)
  func look(_ volume: VolumeID) async throws(AgentFailure) -> VolumeLook
  /// Makes a volume: zeros, or copy-on-write over a cached image or over a snapshot in this pool.
  func create(
    _ volume: VolumeID, sizeBytes: Int, from source: VolumeAssignment.Source?
  ) async throws(AgentFailure)
  /// Makes a volume larger that no guest has open.
  func grow(_ volume: VolumeID, to sizeBytes: Int) async throws(AgentFailure)
  /// Keeps what the volume holds until a guest is switched to the source that is returned. A guest that ends before it is
  /// switched finds the same data there.
  func beginSnapshot(_ snapshot: SnapshotID, of volume: VolumeID) async throws(AgentFailure) -> DiskSource
  /// Keeps what a volume holds, of which the snapshot was begun and whose guest stands still: only where snapshots are taken in
  /// place.
  func captureSnapshot(_ snapshot: SnapshotID, of volume: VolumeID) async throws(AgentFailure)
  /// Puts an empty layer in the place of a volume's newest one, which no guest has open and whose guest stands still on the one below.
  func emptyLeaf(of volume: VolumeID) async throws(AgentFailure)
  /// Whether any host has the volume open for writing, this one too.
  func isOpen(_ volume: VolumeID) async throws(AgentFailure) -> Bool
  /// Cuts off every client of the pool's cluster that has the volume open, on whatever host, and returns when none has it open any
  /// more. What they have not written by then is never written. Returns their addresses.
  func fence(_ volume: VolumeID) async throws(AgentFailure) -> [String]
  /// No guest writes below the new source any more.
  func finishSnapshot(
    _ snapshot: SnapshotID, of volume: VolumeID, takenAt: Int, quiesced: Bool
  ) async throws(AgentFailure)
  /// Where the memory of a volume's guest is to be written that belongs to a snapshot which was begun; what an earlier attempt has left
  /// there is gone. Throws `diskFull` unless `bytes` fit.
  func beginMemory(_ snapshot: SnapshotID, of volume: VolumeID, bytes: Int) async throws(AgentFailure) -> String
  /// Whether all of it has been written there.
  func hasWrittenMemory(_ snapshot: SnapshotID, of volume: VolumeID) async throws(AgentFailure) -> Bool
  /// Makes what was written there the memory of the snapshot, which can then be finished.
  func finishMemory(_ snapshot: SnapshotID, of volume: VolumeID) async throws(AgentFailure)
  /// The file with the memory of a snapshot that was taken. Throws `memoryUnusable` if there is none.
  func memory(of snapshot: SnapshotID, of volume: VolumeID) async throws(AgentFailure) -> String
  func deleteSnapshot(_ snapshot: SnapshotID, of volume: VolumeID) async throws(AgentFailure)
  /// Makes a snapshot's content that of a volume that no guest has open.
  func revert(
    _ volume: VolumeID, to snapshot: SnapshotID, epoch: Int, sizeBytes: Int
  ) async throws(AgentFailure)
  /// Deletes a volume that no guest has open, with its snapshots. What other volumes were cloned from it they keep.
  func delete(_ volume: VolumeID) async throws(AgentFailure)
  /// Merges two layers that no guest has open.
  func merge(_ merge: LayerMerge) async throws(AgentFailure)
  /// A guest's QEMU is about to merge two layers: until ``settlePull(_:)`` the upper one counts as lying over the lower one, whatever
  /// its file says.
  func beginPull(_ merge: LayerMerge) async throws(AgentFailure)
  /// QEMU has merged two layers, and written all of it down.
  func settlePull(_ merge: LayerMerge) async throws(AgentFailure)
  /// The guest whose QEMU merged two layers has ended: they are two again.
  func undoPull(_ merge: LayerMerge) async throws(AgentFailure)
  /// Makes one qcow2 file of what a snapshot that was taken holds, if there is none yet; guests may read the snapshot's data meanwhile.
  /// The file is kept until ``removeExports(but:)``, over restarts too.
  ///
  /// - Parameters:
  ///   - begin: is called before a new file is there: it may differ from one that was there before.
  ///   - progress: bytes done, of how many.
  func export(
    _ export: VolumeAssignment.Export, of volume: VolumeID,
    begin: @escaping @Sendable () async throws(AgentFailure) -> Void,
    progress: @escaping @Sendable (Int, Int) -> Void
  ) async throws(AgentFailure) -> ExportedFile
  /// Lets `body` read what a snapshot that was taken holds: what differs from the base, if that is named and what the volume was
  /// since came from it, else everything. Guests may read the snapshot's data meanwhile.
  func read(
    _ backup: VolumeAssignment.Backup, of volume: VolumeID,
    _ body: @Sendable (any BackupSource) async throws(AgentFailure) -> Void
  ) async throws(AgentFailure)
  /// Makes a volume, or another content of one that no guest has open, of what `fill` writes. Until that has returned the volume is
  /// what it was.
  ///
  /// - Parameter bytes: how much will be written.
  func restore(
    _ volume: VolumeID, sizeBytes: Int, epoch: Int, needing bytes: Int,
    _ fill: @Sendable (any BackupTarget) async throws(AgentFailure) -> Void
  ) async throws(AgentFailure)
  /// How a volume that nobody writes to is read to be copied to another pool.
  func origin(of volume: VolumeID) async throws(AgentFailure) -> CopyOrigin
  /// What was made for a volume that comes from another pool, as long as it does not count here; nil: nothing.
  func copy(of volume: VolumeID) async throws(AgentFailure) -> DiskSource?
  /// Makes an empty one, in the place of whatever was made before. Throws `diskFull` when all of it will not fit.
  func prepareCopy(of volume: VolumeID, _ origin: CopyOrigin) async throws(AgentFailure) -> DiskSource
  /// Copies a volume that nobody writes to into it.
  ///
  /// - Parameter progress: bytes done, of how many.
  func fillCopy(
    of volume: VolumeID, from origin: CopyOrigin, _ progress: @escaping @Sendable (Int, Int) -> Void
  ) async throws(AgentFailure)
  /// Ends ``fillCopy(of:from:_:)``, which throws `changedMeanwhile` then.
  func stopCopy(of volume: VolumeID) async
  /// From now on the volume is here, with what the copy has: in one step, and durably.
  func adoptCopy(of volume: VolumeID) async throws(AgentFailure)
  /// Deletes a copy that does not count, and that nobody has open.
  func discardCopy(of volume: VolumeID) async throws(AgentFailure)
  /// A volume that counts in another pool counts here no more for other hosts either. What is left of it is deleted by
  /// ``delete(_:)``. Nothing where only this host looks.
  func letGo(of volume: VolumeID) async throws(AgentFailure)
  /// Begins an epoch with what is there.
  func keep(_ volume: VolumeID, asEpoch epoch: Int) async throws(AgentFailure)
  /// Removes the files that were made for other images.
  func removeExports(but wanted: Set<ImageID>) async throws(AgentFailure)
  /// Looks through a pool that nodes share: what is there that nothing needs and nobody removes, and what is missing, in words.
  ///
  /// - Parameter compare: asks what the cloud knows of it.
  func findings(
    uptime: Int,
    comparing compare: @Sendable (SharedPoolContents) async throws(AgentFailure) -> SharedPoolDifferences
  ) async throws(AgentFailure) -> [String]
}

/// A qcow2 file that is to be sent.
public struct ExportedFile: Sendable, Hashable {
  public var path: String
  public var sizeBytes: Int
  public var sha256: [UInt8]

  public init(path: String, sizeBytes: Int, sha256: [UInt8]) {
    self.path = path
    self.sizeBytes = sizeBytes
    self.sha256 = sha256
  }
}

extension VolumeBackend {
  public var access: CephAccess? { nil }
  public var takesSnapshotsInPlace: Bool { false }
  public func unlock(_ volume: VolumeID, with key: VolumeKey) async throws(AgentFailure) {
    throw AgentFailure(.unsupported, "this pool does not encrypt volumes")
  }
  public func captureSnapshot(_ snapshot: SnapshotID, of volume: VolumeID) async throws(AgentFailure) {
    throw AgentFailure(.unsupported, "this pool takes snapshots by new layers")
  }
  public func emptyLeaf(of volume: VolumeID) async throws(AgentFailure) {}
  public func origin(of volume: VolumeID) async throws(AgentFailure) -> CopyOrigin {
    throw .unsupported("moving volumes")
  }
  public func copy(of volume: VolumeID) async throws(AgentFailure) -> DiskSource? { nil }
  public func prepareCopy(of volume: VolumeID, _ origin: CopyOrigin) async throws(AgentFailure) -> DiskSource {
    throw .unsupported("moving volumes")
  }
  public func fillCopy(
    of volume: VolumeID, from origin: CopyOrigin, _ progress: @escaping @Sendable (Int, Int) -> Void
  ) async throws(AgentFailure) {
    throw .unsupported("moving volumes")
  }
  public func stopCopy(of volume: VolumeID) async {}
  public func adoptCopy(of volume: VolumeID) async throws(AgentFailure) { throw .unsupported("moving volumes") }
  public func discardCopy(of volume: VolumeID) async throws(AgentFailure) {}
  public func letGo(of volume: VolumeID) async throws(AgentFailure) {}
  public func beginMemory(
    _ snapshot: SnapshotID, of volume: VolumeID, bytes: Int
  ) async throws(AgentFailure) -> String {
    throw AgentFailure(.memoryUnsaved, "this pool keeps no memory of guests")
  }
  public func hasWrittenMemory(_ snapshot: SnapshotID, of volume: VolumeID) async throws(AgentFailure) -> Bool { false }
  public func finishMemory(_ snapshot: SnapshotID, of volume: VolumeID) async throws(AgentFailure) {
    throw AgentFailure(.memoryUnsaved, "this pool keeps no memory of guests")
  }
  public func memory(of snapshot: SnapshotID, of volume: VolumeID) async throws(AgentFailure) -> String {
    throw AgentFailure(.memoryUnusable, "this pool keeps no memory of guests")
  }
  /// A pool of one host is told by its hypervisor.
  public func isOpen(_ volume: VolumeID) async throws(AgentFailure) -> Bool { false }
  public func fence(_ volume: VolumeID) async throws(AgentFailure) -> [String] { [] }
  /// A pool of one host is compared with what that host is told.
  public func findings(
    uptime: Int,
    comparing compare: @Sendable (SharedPoolContents) async throws(AgentFailure) -> SharedPoolDifferences
  ) async throws(AgentFailure) -> [String] { [] }
}
