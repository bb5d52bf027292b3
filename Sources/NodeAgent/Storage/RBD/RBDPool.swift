import AloftModel
import JSON
import Logging

// A pool of a Ceph cluster, which several nodes may reach
//
//   aloft.<volume-id>             a volume's record: an image without data, whose metadata `aloft.manifest` say what the volume is
//   aloft.<volume-id>.<epoch>     a volume's data since a revert; its snapshots are RBD's, named by their ids
//   aloft.image.<sha256>          what volumes are cloned from, by its snapshot `base`
//   aloft.temporary.<node>.<…>    is brought in, or read, by a node
//
// Invariants
// - A manifest is replaced in one step, and says beforehand what is about to be made and behind it what is to be deleted: whatever
//   stops in the middle is cleared away by the next change, from the pool alone. Nothing is remembered here.
// - What is needed only for a while says in its name whose it is: its node removes what an earlier process has left, and others what
//   nobody has had open for an hour.
// - Clones are of format 2: snapshots and images are deleted whoever has cloned them. Ceph keeps what clones need in its trash;
//   from there it is removed when the last one has gone.
// - Snapshots are taken where the data are: no guest is switched. Several are of one instant because their guest stands still.
// - A volume's documents are on one node at a time. What has an image open, wherever, is asked for again before it is started with,
//   put back or deleted: RBD hands its lock from writer to writer, and does not keep two guests apart.

/// A storage pool of RBD images.
actor RBDPool: VolumeBackend {
  nonisolated let name: String
  nonisolated let access: CephAccess?
  /// Where images are downloaded to and checked before they come into the pool.
  let cache: DirectoryPool
  let images: RBDImages
  /// For what takes long, or is seldom done.
  let rbd: RBDCommand
  let logger: Logger
  /// Is called before each change with what it is; for tests, which let the agent die there.
  let checkpoint: @Sendable (String) throws(AgentFailure) -> Void
  /// What the cluster told last.
  private(set) var latest: NodeStoragePool
  private var isLooking = false
  /// Since when nothing has needed an image, by the clock of ``removeImages(but:uptime:)``.
  var unusedImages: [String: Int] = [:]
  /// Images that this process needs for a while.
  var temporaries: Set<String> = []
  /// Since when somebody else's have been there and nobody has had them open, by the same clock.
  var abandoned: [String: Int] = [:]
  /// Those of them that could not be removed though they should have gone.
  var overdue: Set<String> = []
  var isTidying = false
  /// When nothing was found by ``findings(uptime:comparing:)``; nil: something was, or nobody has looked.
  var cleanAt: Int?
  /// Copies that are being filled from other pools.
  var copying: [VolumeID: ToolHandle] = [:]

  nonisolated var takesSnapshotsInPlace: Bool { true }

  private static let manifestKey = "aloft.manifest"
  /// How many images may lie under each other before one is made independent of those below.
  let maximumDepth: Int

  init(
    _ name: String, _ access: CephAccess, cache: DirectoryPool, logger: Logger, maximumDepth: Int = 16,
    checkpoint: @escaping @Sendable (String) throws(AgentFailure) -> Void = { (_) throws(AgentFailure) in }
  ) {
    self.name = name
    self.access = access
    self.cache = cache
    rbd = RBDCommand(access: access)
    images = RBDImages(access: access)
    self.logger = logger
    self.checkpoint = checkpoint
    self.maximumDepth = maximumDepth
    latest = NodeStoragePool(
      name: name, kind: .rbd, totalBytes: 0, freeBytes: 0, usedBytes: 0, problem: "the cluster has not answered yet")
  }

  /// As it was when the cluster answered last: one that does not answer must not keep the node from telling that it lives.
  func status() async -> NodeStoragePool {
    if !isLooking {
      isLooking = true
      Task { await self.lookAtCluster() }
    }
    return latest
  }

  func lookAtCluster() async {
    do throws(AgentFailure) {
      latest = try ClusterUsage.pool(rbd.access.pool, in: Array(try await images.clusterUsage().utf8), as: name)
    } catch {
      if latest.problem != error.detail {
        logger.error("a storage pool cannot be used", metadata: ["pool": "\(name)", "failure": "\(error)"])
      }
      latest.problem = error.detail
    }
    isLooking = false
  }

  func source(_ image: String) -> DiskSource { .rbd("\(rbd.access.pool)/\(image)") }

  // MARK: Manifests

  enum Record {
    case absent
    case damaged(String)
    case known(RBDManifest)
  }

  func record(of volume: VolumeID) async throws(AgentFailure) -> Record {
    let record = RBDName.record(volume)
    guard let text = try await images.metadata(Self.manifestKey, of: record) else {
      // Made, and nothing written to it: nothing else of the volume can be there.
      return .absent
    }
    guard let manifest = RBDManifest(Array(text.utf8)), manifest.volume == volume else {
      return .damaged("the metadata of \(rbd.access.pool)/\(record) are damaged")
    }
    return .known(manifest)
  }

  func manifest(of volume: VolumeID) async throws(AgentFailure) -> RBDManifest {
    switch try await record(of: volume) {
    case .known(let manifest): return manifest
    case .absent: throw AgentFailure(.volumeDamaged, "pool \(name) has no volume \(volume)")
    case .damaged(let what): throw AgentFailure(.volumeDamaged, what)
    }
  }

  /// Replaces a volume's manifest; the first one makes the record.
  func write(_ manifest: RBDManifest, first: Bool = false) async throws(AgentFailure) {
    let record = RBDName.record(manifest.volume)
    if first {
      try checkpoint("making a record")
      try await images.createIfMissing(record, sizeBytes: 1 << 20)
    }
    try checkpoint("writing a manifest")
    try await images.setMetadata(Self.manifestKey, to: try manifest.text(), of: record)
  }

  /// Deletes what a manifest says is not needed, and then says no more that it is there.
  func collect(_ manifest: RBDManifest) async throws(AgentFailure) {
    guard !manifest.garbage.isEmpty else { return }
    for image in manifest.garbage { try await discard(image) }
    var rest = manifest
    rest.garbage = []
    try await write(rest)
  }

  /// Deletes an image with its snapshots; what clones need of it Ceph keeps. Throws `volumeInUse` while somebody has it open.
  func discard(_ image: String) async throws(AgentFailure) {
    guard let snapshots = try await images.snapshots(of: image) else { return }
    if try await isWatched(image) {
      throw AgentFailure(.volumeInUse, "somebody has \(rbd.access.pool)/\(image) open")
    }
    for snapshot in snapshots {
      try checkpoint("deleting a snapshot")
      try await images.removeSnapshot(snapshot, of: image)
    }
    try checkpoint("deleting an image")
    if try await rbd.works("rm", "--no-progress", image) { return }
    try await rbd.remove("trash", "mv", image)
  }

  /// Whether a guest of any node, or a program that writes, has an image open.
  func isWatched(_ image: String) async throws(AgentFailure) -> Bool { try await !watchers(of: image).isEmpty }

  private func watchers(of image: String) async throws(AgentFailure) -> [String] {
    try await images.watchers(of: image)
  }

  /// How often a fence looks whether those that it cut off are gone, which Ceph sees to within a second or two.
  private static let fenceLooks = 20

  func fence(_ volume: VolumeID) async throws(AgentFailure) -> [String] {
    guard case .known(let manifest) = try await record(of: volume) else { return [] }
    var cut: [String] = []
    // What it was making is not to be written to either.
    for image in manifest.images.union(manifest.garbage).union([manifest.copy?.image].compactMap { $0 }).sorted() {
      var looks = 0
      while true {
        let open = try await watchers(of: image)
        if open.isEmpty { break }
        looks += 1
        guard looks <= Self.fenceLooks else {
          throw AgentFailure(.volumeInUse, "\(rbd.access.pool)/\(image) is open though its clients were cut off")
        }
        // Those that come while this one looks are cut off too.
        for address in open where !cut.contains(address) {
          try checkpoint("cutting a client off")
          try await images.keepOut(address)
          cut.append(address)
        }
      }
    }
    return cut
  }

  func isOpen(_ volume: VolumeID) async throws(AgentFailure) -> Bool {
    guard case .known(let manifest) = try await record(of: volume), let head = manifest.head else { return false }
    return try await isWatched(head)
  }
}

/// What `ceph df` tells.
private struct ClusterUsage: Decodable {
  struct Pool: Decodable {
    struct Stats: Decodable {
      var stored: Int
      var maxAvail: Int

      enum CodingKeys: String, CodingKey {
        case stored
        case maxAvail = "max_avail"
      }
    }
    var name: String
    var stats: Stats
  }
  var pools: [Pool]

  /// Bytes as guests see them: what copies take is not counted.
  static func pool(_ pool: String, in bytes: [UInt8], as name: String) throws(AgentFailure) -> NodeStoragePool {
    let usage = try RBDCommand.decode(bytes, as: ClusterUsage.self)
    guard let stats = usage.pools.first(where: { $0.name == pool })?.stats else {
      throw AgentFailure(.storage, "the cluster has no pool \(pool)")
    }
    return NodeStoragePool(
      name: name, kind: .rbd, totalBytes: stats.stored + stats.maxAvail, freeBytes: stats.maxAvail,
      usedBytes: stats.stored)
  }
}
