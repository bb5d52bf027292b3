import AloftModel

/// Something that is to be made of a snapshot of a volume of this node.
protocol SnapshotJob: Sendable, Equatable {
  associatedtype Product: Sendable, Hashable

  /// What comes of it, and of no other one.
  var product: Product { get }
  var snapshot: SnapshotID { get }
  /// Those that a document asks for.
  static func listed(in document: VolumeAssignment) -> [Self]
  /// - Parameter key: that of an encrypted volume.
  func effect(of volume: VolumeID, in pool: String, key: VolumeKey?) -> AgentEffect
}

extension VolumeAssignment.Export: SnapshotJob {
  var product: ImageID { image }
  static func listed(in document: VolumeAssignment) -> [Self] { document.exports ?? [] }
  func effect(of volume: VolumeID, in pool: String, key: VolumeKey?) -> AgentEffect {
    .export(self, volume, pool: pool)
  }
}

extension VolumeAssignment.Backup: SnapshotJob {
  var product: BackupID { backup }
  static func listed(in document: VolumeAssignment) -> [Self] { document.backups ?? [] }
  func effect(of volume: VolumeID, in pool: String, key: VolumeKey?) -> AgentEffect {
    .backUp(self, volume, pool: pool, key: key)
  }
}

/// The jobs of one kind, each of which is done again until no document lists it any more.
struct SnapshotJobs<Job: SnapshotJob>: Sendable {
  struct Item: Sendable, Equatable {
    var job: Job
    var volume: VolumeID
    var pool: String
    /// Of an encrypted volume.
    var key: VolumeKey?
    var isUnderWay = false
    var failures = 0
    var retryAt = 0
  }

  /// Milliseconds after which one that was done is looked at again, if it is still listed.
  private static var look: Int { 60_000 }

  /// In the order in which they were first wanted.
  private(set) var items: [Item] = []

  private var underWayCount: Int { items.count { $0.isUnderWay } }
  var underWay: [Job] { items.filter(\.isUnderWay).map(\.job) }

  /// The uptime at which one can begin, when `limit` may be under way.
  func wakeAt(limit: Int) -> Int? {
    underWayCount < limit ? items.filter { !$0.isUnderWay }.map(\.retryAt).min() : nil
  }

  /// Forgets what is not wanted any more, and begins what is due.
  mutating func start(_ wanted: [Item], limit: Int, _ uptime: Int, _ effects: inout [AgentEffect]) {
    items = items.filter { item in
      item.isUnderWay || wanted.contains { $0.job == item.job && $0.volume == item.volume }
    }
    for item in wanted where !items.contains(where: { $0.job.product == item.job.product }) { items.append(item) }
    for index in items.indices where !items[index].isUnderWay {
      guard underWayCount < limit, uptime >= items[index].retryAt else { continue }
      items[index].isUnderWay = true
      let item = items[index]
      effects.append(item.job.effect(of: item.volume, in: item.pool, key: item.key))
    }
  }

  /// Takes in that one has ended.
  mutating func end(
    _ product: Job.Product, failed: Bool, _ uptime: Int, _ retry: Backoff, _ random: inout SplitMix
  ) {
    guard let index = items.firstIndex(where: { $0.job.product == product }) else { return }
    items[index].isUnderWay = false
    items[index].failures = failed ? items[index].failures + 1 : 0
    items[index].retryAt = uptime + (failed ? retry.delay(after: items[index].failures, &random) : Self.look)
  }
}

extension AgentMachine {
  mutating func startJobs(_ uptime: Int, _ effects: inout [AgentEffect]) {
    exports.start(wanted(), limit: options.parallelExports, uptime, &effects)
    backups.start(wanted(), limit: options.parallelBackups, uptime, &effects)
  }

  /// What documents list, as far as the snapshots were taken.
  private func wanted<Job>() -> [SnapshotJobs<Job>.Item] {
    volumeOrder.flatMap { volume -> [SnapshotJobs<Job>.Item] in
      guard let entry = volumes[volume], let document = entry.document, !document.deleted, document.released != true,
        !document.isLocked
      else { return [] }
      return Job.listed(in: document).filter { entry.actual?.stored?.hasTaken($0.snapshot) == true }.map {
        SnapshotJobs<Job>.Item(job: $0, volume: volume, pool: document.pool, key: document.key)
      }
    }
  }

  /// The images for which something is kept.
  var listedExports: Set<ImageID> {
    let listed = volumes.values.flatMap { $0.document?.exports ?? [] }.map(\.image)
    return Set(listed).union(exports.underWay.map(\.image))
  }

  mutating func takeExport(_ image: ImageID, _ failure: AgentFailure?, _ now: AgentTime) {
    exports.end(image, failed: failure != nil, now.uptime, Self.retry, &random)
  }

  mutating func takeBackup(_ backup: BackupID, _ failure: AgentFailure?, _ now: AgentTime) {
    backups.end(backup, failed: failure != nil, now.uptime, Self.retry, &random)
  }

  /// How far the restoring of a volume is.
  mutating func takeProgress(_ volume: VolumeID, _ done: Int, _ total: Int, _ now: AgentTime) {
    switch volumes[volume]?.turn.work {
    case .performing(.restore), .performing(.copy), .performing(.takeSnapshot): break
    default: return
    }
    volumes[volume]?.transfer = (done, total)
    refresh(volume, now)
  }
}
