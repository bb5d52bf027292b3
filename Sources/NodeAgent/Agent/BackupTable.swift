import AloftModel

/// The backups that are to be made of volumes of this node.
struct BackupTable: Sendable {
  struct Item: Sendable, Equatable {
    var backup: VolumeAssignment.Backup
    var volume: VolumeID
    var pool: String
    var isUnderWay = false
    var failures = 0
    var retryAt = 0
  }

  /// In the order in which they were first wanted.
  var items: [Item] = []

  var underWay: Int { items.count { $0.isUnderWay } }

  /// The uptime at which one can begin, when `limit` may be under way.
  func wakeAt(limit: Int) -> Int? {
    underWay < limit ? items.filter { !$0.isUnderWay }.map(\.retryAt).min() : nil
  }
}

extension AgentMachine {
  /// Milliseconds after which one that was made is looked at again, if it is still listed.
  private static let backupLook = 60_000

  mutating func startBackups(_ uptime: Int, _ effects: inout [AgentEffect]) {
    let wanted = wantedBackups
    backups.items = backups.items.filter { item in
      item.isUnderWay || wanted.contains { $0.backup == item.backup && $0.volume == item.volume }
    }
    for item in wanted where !backups.items.contains(where: { $0.backup.backup == item.backup.backup }) {
      backups.items.append(item)
    }
    for index in backups.items.indices where !backups.items[index].isUnderWay {
      guard backups.underWay < options.parallelBackups, uptime >= backups.items[index].retryAt else { continue }
      backups.items[index].isUnderWay = true
      let item = backups.items[index]
      effects.append(.backUp(item.backup, item.volume, pool: item.pool))
    }
  }

  /// What documents list, as far as the snapshots were taken.
  private var wantedBackups: [BackupTable.Item] {
    volumeOrder.flatMap { volume -> [BackupTable.Item] in
      guard let entry = volumes[volume], let document = entry.document, !document.deleted,
        let backups = document.backups
      else { return [] }
      return backups.filter { entry.actual?.stored?.hasTaken($0.snapshot) == true }.map {
        BackupTable.Item(backup: $0, volume: volume, pool: document.pool)
      }
    }
  }

  mutating func takeBackup(_ backup: BackupID, _ failure: AgentFailure?, _ now: AgentTime) {
    guard let index = backups.items.firstIndex(where: { $0.backup.backup == backup }) else { return }
    backups.items[index].isUnderWay = false
    if failure == nil {
      // The document does not list it any more as soon as it is there.
      backups.items[index].failures = 0
      backups.items[index].retryAt = now.uptime + Self.backupLook
    } else {
      backups.items[index].failures += 1
      backups.items[index].retryAt = now.uptime + Self.retry.delay(after: backups.items[index].failures, &random)
    }
  }

  /// How far the restoring of a volume is.
  mutating func takeProgress(_ volume: VolumeID, _ done: Int, _ total: Int, _ now: AgentTime) {
    guard let entry = volumes[volume], case .performing(.restore) = entry.turn.work else { return }
    volumes[volume]?.transfer = (done, total)
    refresh(volume, now)
  }
}
