// What the agent protocol says about volumes.
//
// A volume has a document of its own, which is on one node at a time: the node of the VM that it is attached to, else the
// node that holds it or, in a pool that nodes share, one that was chosen. That node's agent makes, grows, snapshots,
// reverts and deletes it. A VM's document says what is plugged into the guest. In such a pool a document goes over to another node when
// this one has reported the volume as released, or when it was given up: then the other one cuts it off first (`fence`).

/// In a ``NodeReport``: a storage pool as the node sees it.
public struct NodeStoragePool: Sendable, Codable, Equatable {
  /// The pool's name, which never changes. `local` is the agent's data directory.
  public var name: String
  public var kind: StoragePoolKind
  public var totalBytes: Int
  /// What may still be written.
  public var freeBytes: Int
  /// What Aloft's volumes and cached images take.
  public var usedBytes: Int
  /// Why nothing can be done there now; nil: the pool works.
  public var problem: String?

  public init(
    name: String, kind: StoragePoolKind, totalBytes: Int, freeBytes: Int, usedBytes: Int, problem: String? = nil
  ) {
    self.name = name
    self.kind = kind
    self.totalBytes = totalBytes
    self.freeBytes = freeBytes
    self.usedBytes = usedBytes
    self.problem = problem
  }
}

/// The whole desired state of one volume on this node. `deleted` makes it a tombstone.
public struct VolumeAssignment: Sendable, Codable, Equatable {
  /// What a volume's first content is: one of the three.
  public struct Source: Sendable, Codable, Equatable {
    public var image: Assignment.BaseImage?
    /// A snapshot of a volume in the same pool.
    public var snapshot: SnapshotID?
    /// Which volume of the snapshot.
    public var volume: VolumeID?
    /// The snapshot was not reported as taken yet: while the node does not have it, it is waited for. Nil is false.
    public var isAwaited: Bool?
    /// A backup, whose parts come from the control plane.
    public var backup: BackupID?

    public init(backup: BackupID) { self.backup = backup }
    public init(image: Assignment.BaseImage) { self.image = image }
    public init(snapshot: SnapshotID, of volume: VolumeID, isAwaited: Bool = false) {
      self.snapshot = snapshot
      self.volume = volume
      self.isAwaited = isAwaited ? true : nil
    }
  }

  /// A snapshot that the volume is to have.
  public struct Snapshot: Sendable, Codable, Equatable {
    public var id: SnapshotID
    /// It was reported as taken: if the node does not have it, it is lost, and must not be taken again.
    public var isTaken: Bool
    /// The volumes that have it, of one instant: all plugged into one guest, or all at rest.
    public var volumes: [VolumeID]
    /// The guest is to bring its file systems to rest first, if its agent can.
    public var quiesce: Bool
    /// What the guest's memory holds belongs to it, as a file beside this volume. Nil: it does not.
    public var memory: VolumeID?

    public init(id: SnapshotID, isTaken: Bool, volumes: [VolumeID], quiesce: Bool, memory: VolumeID? = nil) {
      self.memory = memory
      self.id = id
      self.isTaken = isTaken
      self.volumes = volumes
      self.quiesce = quiesce
    }
  }

  /// An image that is to be made of what a snapshot of the volume holds.
  public struct Export: Sendable, Codable, Equatable, Hashable {
    public var image: ImageID
    public var snapshot: SnapshotID

    public init(image: ImageID, snapshot: SnapshotID) {
      self.image = image
      self.snapshot = snapshot
    }
  }

  /// A backup that is to be made of what a snapshot of the volume holds.
  public struct Backup: Sendable, Codable, Equatable, Hashable {
    public var backup: BackupID
    public var snapshot: SnapshotID
    /// An earlier backup of the volume, of whose parts those are taken that are the same. Nil: there is none.
    public var earlier: BackupID?
    /// The snapshot that it was made of: only what differs from that is read. Nil: all is read.
    public var base: SnapshotID?
    public var chunkBytes: Int

    public init(
      backup: BackupID, snapshot: SnapshotID, earlier: BackupID? = nil, base: SnapshotID? = nil, chunkBytes: Int
    ) {
      self.backup = backup
      self.snapshot = snapshot
      self.earlier = earlier
      self.base = base
      self.chunkBytes = chunkBytes
    }
  }

  /// What an epoch begins with that does not begin with a snapshot.
  public struct Restoring: Sendable, Codable, Equatable {
    /// Nil: with whatever is there. Restoring was given up.
    public var backup: BackupID?

    public init(backup: BackupID?) { self.backup = backup }
  }

  public var volume: VolumeID
  /// Counts the documents.
  public var generation: Int
  public var deleted: Bool
  /// It was reported as ready: if the node does not have it, it is lost, and must not be made again.
  public var isMade: Bool
  /// The name of its pool.
  public var pool: String
  public var sizeBytes: Int
  /// Nil: zeros.
  public var source: Source?
  /// The VM that it is attached to.
  public var vm: VMID?
  /// All that it is to have; others are to go.
  public var snapshots: [Snapshot]
  /// Counts the reverts: content of an older epoch is replaced by that of `base`. What was written since is gone, or is in
  /// other snapshots.
  public var epoch: Int
  /// The snapshot that the newest epoch began with; nil: the volume was never reverted.
  public var base: SnapshotID?
  /// Another node is to have it: nothing more is done with it here, and no guest gets it. Nil: no.
  public var released: Bool?
  /// The node that had it was given up and did not release it: whoever has it open elsewhere is cut off from it. Nil: no.
  public var fence: Bool?
  /// What is to be sent to the image store, as long as it is listed; see ``ExportReport``. Nil is none.
  public var exports: [Export]?
  /// What is to be backed up, as long as it is listed; see ``BackupManifest``. Nil is none.
  public var backups: [Backup]?
  /// What the newest epoch begins with, where that is no snapshot.
  public var restoring: Restoring?
  /// All of its layers are encrypted. Nil: none is.
  public var encrypted: Bool?
  /// What they are locked with: the same in all documents of the volume and in those of what was cloned from it. Nil in a document of an
  /// encrypted volume: it is to be deleted, or the control plane cannot open the key. It is kept in memory only.
  public var key: VolumeKey?
  /// It is to go to another pool. Nil: it stays in `pool`.
  public var move: Move?

  public init(
    volume: VolumeID, generation: Int, deleted: Bool, isMade: Bool = false, pool: String, sizeBytes: Int,
    source: Source? = nil, vm: VMID? = nil, snapshots: [Snapshot] = [], epoch: Int = 0, base: SnapshotID? = nil,
    released: Bool? = nil, fence: Bool? = nil, exports: [Export]? = nil, backups: [Backup]? = nil,
    restoring: Restoring? = nil, encrypted: Bool? = nil, key: VolumeKey? = nil, move: Move? = nil
  ) {
    self.move = move
    self.backups = backups
    self.restoring = restoring
    self.encrypted = encrypted
    self.key = key
    self.released = released
    self.fence = fence
    self.exports = exports
    self.volume = volume
    self.generation = generation
    self.deleted = deleted
    self.isMade = isMade
    self.pool = pool
    self.sizeBytes = sizeBytes
    self.source = source
    self.vm = vm
    self.snapshots = snapshots
    self.epoch = epoch
    self.base = base
  }
}

extension VolumeAssignment {
  /// What stands behind the pool's name in the document of an encrypted volume. No pool has such a name: an agent that knows nothing of
  /// encryption finds none, and so writes nothing in the clear.
  private static let encryptedMark = "#luks"

  /// As it is sent.
  public var marked: VolumeAssignment {
    guard encrypted == true else { return self }
    var document = self
    document.pool += Self.encryptedMark
    return document
  }

  /// As an agent works with it that can encrypt.
  public var unmarked: VolumeAssignment {
    guard encrypted == true, pool.hasSuffix(Self.encryptedMark) else { return self }
    var document = self
    document.pool.removeLast(Self.encryptedMark.count)
    return document
  }
}

/// One volume as its agent sees it.
public struct VolumeObservation: Sendable, Codable, Equatable {
  /// `absent` ends a deletion: nothing of the volume is left. `released` says that no guest of this node has it, nor will have it
  /// by this document.
  public enum State: String, Sendable, Codable, CaseIterable { case absent, preparing, ready, released }

  /// A snapshot that the node has.
  public struct Snapshot: Sendable, Codable, Equatable {
    public var id: SnapshotID
    /// Milliseconds since 1970.
    public var takenAt: Int
    /// The guest's file systems were at rest.
    public var quiesced: Bool
    /// How much the file with the guest's memory takes, which lies beside this volume. Nil: there is none.
    public var memoryBytes: Int?

    public init(id: SnapshotID, takenAt: Int, quiesced: Bool, memoryBytes: Int? = nil) {
      self.memoryBytes = memoryBytes
      self.id = id
      self.takenAt = takenAt
      self.quiesced = quiesced
    }
  }

  public var volume: VolumeID
  /// The generation of the document that the agent worked to.
  public var generation: Int
  /// Counts the agent's reports, of VMs and volumes together.
  public var sequence: Int
  public var state: State
  public var sizeBytes: Int?
  /// What it takes in its pool: its own data, not what it shares with images and snapshots.
  public var usedBytes: Int?
  public var epoch: Int
  public var snapshots: [Snapshot]
  /// What the agent does now, in words.
  public var activity: String?
  public var bytesDone: Int?
  public var bytesTotal: Int?
  public var problem: Observation.Problem?
  /// The name of the pool that it is in, of one whose document says to move it; nil: not in one pool only.
  public var pool: String?

  public init(
    volume: VolumeID, generation: Int, sequence: Int, state: State, sizeBytes: Int? = nil, usedBytes: Int? = nil,
    epoch: Int = 0, snapshots: [Snapshot] = [], activity: String? = nil, bytesDone: Int? = nil, bytesTotal: Int? = nil,
    problem: Observation.Problem? = nil, pool: String? = nil
  ) {
    self.pool = pool
    self.volume = volume
    self.generation = generation
    self.sequence = sequence
    self.state = state
    self.sizeBytes = sizeBytes
    self.usedBytes = usedBytes
    self.epoch = epoch
    self.snapshots = snapshots
    self.activity = activity
    self.bytesDone = bytesDone
    self.bytesTotal = bytesTotal
    self.problem = problem
  }
}

/// `PUT /agent/v1/images/{id}/export`: how far an image is that is made of a volume. Its bytes go to
/// `/agent/v1/images/{id}/content` as an upload of a client would: HEAD tells how many are there, PATCH goes on, DELETE begins
/// anew. Each is answered 404 when the image is not wanted any more.
public struct ExportReport: Sendable, Codable, Equatable {
  /// What the agent does now, in words.
  public var activity: String
  public var bytesDone: Int?
  public var bytesTotal: Int?
  /// What has ended this attempt; there will be another.
  public var problem: Observation.Problem?

  public init(activity: String, bytesDone: Int? = nil, bytesTotal: Int? = nil, problem: Observation.Problem? = nil) {
    self.activity = activity
    self.bytesDone = bytesDone
    self.bytesTotal = bytesTotal
    self.problem = problem
  }
}

extension Assignment {
  /// A volume that the guest has.
  public struct Disk: Sendable, Codable, Equatable {
    public var volume: VolumeID
    public var bus: DiskBus
    /// The guest boots from the lowest; nil: not from this one.
    public var bootIndex: Int?
    /// Nil: the guest may read and write as fast as it goes.
    public var limits: IOLimits?

    public init(volume: VolumeID, bus: DiskBus = .virtio, bootIndex: Int? = nil, limits: IOLimits? = nil) {
      self.volume = volume
      self.bus = bus
      self.bootIndex = bootIndex
      self.limits = limits
    }
  }
}

extension VolumeID {
  /// The serial number that the guest sees, which names it under `/dev/disk/by-id`: as much of the id as virtio-blk takes
  /// (20 bytes; virtio 1.2, section 5.2.6).
  public var serial: String { String(description.prefix(20)) }
}
