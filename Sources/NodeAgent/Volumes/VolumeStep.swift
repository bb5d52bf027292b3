import AloftModel

/// One thing to do for a volume. Each may be repeated: what is there already is not made again, what is gone is not missed.
public enum VolumeStep: Sendable, Hashable {
  /// Bring the image into the pool's cache.
  case ensureImage(sha256: String)
  case create
  /// Give the guest that has it open the newest layer; it was not done when a snapshot was begun.
  case catchUp
  /// Take a snapshot of these volumes at one instant, or finish one that was begun; with what their guest's memory holds, as a file
  /// beside one of them, if that is named.
  case takeSnapshot(SnapshotID, of: [VolumeID], quiesce: Bool, memory: VolumeID? = nil)
  case deleteSnapshot(SnapshotID)
  case grow(to: Int)
  case revert(to: SnapshotID, epoch: Int)
  /// Make a backup's content that of the volume, which need not be there.
  case restore(BackupID, epoch: Int)
  /// Begin an epoch with what is there.
  case keep(epoch: Int)
  /// Make two layers one, of which nobody asks for the lower one.
  case merge(LayerMerge)
  /// Let the guest's QEMU begin to do so while the guest runs.
  case pull(LayerMerge)
  /// Have the QEMU that has done so write all of it down.
  case settlePull(LayerMerge)
  /// Make two layers of them again: the guest has ended before that.
  case undoPull(LayerMerge)
  case delete
  /// Copy it into another pool, where it counts from then on.
  case copy(to: String)
  /// Let the guest's QEMU begin to do so while the guest runs.
  case beginCopy(to: String)
  /// Have the guest go over to what QEMU has copied, which counts from then on.
  case finishCopy(to: String)
  /// Throw a copy away that does not count.
  case discardCopy(in: String)
  /// Delete it in the pool that it has left.
  case leavePool(String)
  /// Cut off whoever has it open elsewhere.
  case fence

  /// Whether the volume reads through fewer layers afterwards, of which other volumes may need some.
  var letsGoOfLayers: Bool {
    switch self {
    case .deleteSnapshot, .revert, .restore, .delete: true
    default: false
    }
  }

  /// What the agent does, for people who wait.
  public var activity: String {
    switch self {
    case .ensureImage: "fetching the image"
    case .create: "creating the volume"
    case .takeSnapshot(_, _, _, .some): "writing the guest's memory"
    case .catchUp, .takeSnapshot: "taking a snapshot"
    case .deleteSnapshot: "deleting a snapshot"
    case .grow: "growing"
    case .restore: "restoring the backup"
    case .keep: "giving up restoring"
    case .revert: "going back to a snapshot"
    case .merge, .pull, .settlePull, .undoPull: "merging the data of deleted snapshots"
    case .delete: "deleting the volume"
    case .copy(let pool), .beginCopy(let pool): "copying to pool \(pool)"
    case .finishCopy(let pool): "going over to pool \(pool)"
    case .discardCopy(let pool): "clearing away the copy in pool \(pool)"
    case .leavePool(let pool): "clearing away what is left in pool \(pool)"
    case .fence: "cutting off the node that had the volume"
    }
  }
}

/// Who has a volume open.
public enum VolumeUse: Sendable, Hashable {
  /// Nobody asked: nothing is to be done for which it matters.
  case unknown
  case nobody
  /// The guest that it is attached to.
  case guest(DomainDisk)
  /// A guest that it is not, or not any more, attached to.
  case other
  /// Another host, or one that has just died.
  case elsewhere
}

/// All that is on the node of one volume.
public struct ActualVolume: Sendable, Hashable {
  public var look: VolumeLook
  /// The image that it is to be made from is in the pool's cache.
  public var hasImage: Bool
  /// The snapshot that it is to be made from was taken, or never will be.
  public var isSourceSettled: Bool
  public var use: VolumeUse
  /// No guest reads through the layers that can be merged.
  public var canMerge: Bool
  /// The guest's QEMU merges layers now.
  public var isMerging: Bool
  /// Of one that goes to another pool.
  public var move: ActualMove?

  public init(
    look: VolumeLook = .absent, hasImage: Bool = false, isSourceSettled: Bool = false, use: VolumeUse = .unknown,
    canMerge: Bool = false, isMerging: Bool = false, move: ActualMove? = nil
  ) {
    self.move = move
    self.isSourceSettled = isSourceSettled
    self.isMerging = isMerging
    self.look = look
    self.hasImage = hasImage
    self.use = use
    self.canMerge = canMerge
  }

  var stored: StoredVolume? { if case .whole(let stored) = look { stored } else { nil } }
}

extension StoredVolume {
  /// Its snapshots that were taken.
  var taken: [Snapshot] { snapshots.filter { $0.takenAt != nil } }
  func has(_ snapshot: SnapshotID) -> Bool { snapshots.contains { $0.id == snapshot } }
  func hasTaken(_ snapshot: SnapshotID) -> Bool { taken.contains { $0.id == snapshot } }
}

extension VolumeAssignment {
  /// Whether this document takes the place of `other`, which may be the same one again.
  func replaces(_ other: VolumeAssignment) -> Bool {
    if other.deleted { return deleted && generation >= other.generation }
    return generation >= other.generation
  }

  /// It is encrypted, and its key is not known.
  var isLocked: Bool { encrypted == true && key == nil }

  /// It was there once.
  var mustExist: Bool { isMade || epoch > 0 || snapshots.contains { $0.isTaken } }

  /// Whether another node may have it: nothing is done with it here, and nobody has it open.
  func isReleased(_ actual: ActualVolume) -> Bool {
    guard released == true else { return false }
    return actual.stored == nil || actual.use == .nobody
  }

  /// Whether a guest may use what is stored now.
  func isReady(_ look: VolumeLook) -> Bool {
    guard !deleted, released != true, !isLocked, case .whole(let stored) = look else { return false }
    return stored.epoch == epoch && stored.snapshots.allSatisfy { $0.takenAt != nil } && stored.pull?.isCopied != true
  }
}
