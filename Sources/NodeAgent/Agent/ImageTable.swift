import AloftModel

/// The images that volumes of this node wait for.
struct ImageTable: Sendable {
  struct Item: Sendable {
    var image: Assignment.BaseImage
    var pool: String
    var waiting: [VolumeID] = []
    var isUnderWay = false
    var bytes = 0
    var failures = 0
    var failure: AgentFailure?
    var retryAt = 0
  }

  /// In the order in which they were first wanted.
  var items: [Item] = []

  mutating func want(_ image: Assignment.BaseImage, in pool: String, for volume: VolumeID) {
    let index = index(of: image.sha256, in: pool) ?? items.endIndex
    if index == items.endIndex { items.append(Item(image: image, pool: pool)) }
    if !items[index].waiting.contains(volume) { items[index].waiting.append(volume) }
  }

  func index(of sha256: String, in pool: String) -> Int? {
    items.firstIndex { $0.image.sha256 == sha256 && $0.pool == pool }
  }

  func failure(of sha256: String, in pool: String) -> AgentFailure? {
    index(of: sha256, in: pool).flatMap { items[$0].failure }
  }

  /// How many bytes are there, and how many there will be.
  func transfer(of sha256: String, in pool: String) -> (done: Int, total: Int)? {
    guard let item = index(of: sha256, in: pool).map({ items[$0] }), item.isUnderWay else { return nil }
    return (min(item.bytes, item.image.sizeBytes), item.image.sizeBytes)
  }

  var underWay: Int { items.count { $0.isUnderWay } }

  /// The uptime at which a download can begin, when `limit` may be under way.
  func wakeAt(limit: Int) -> Int? {
    underWay < limit ? items.filter { !$0.isUnderWay }.map(\.retryAt).min() : nil
  }
}

extension AgentMachine {
  mutating func startImages(_ uptime: Int, _ effects: inout [AgentEffect]) {
    images.items = images.items.filter { item in item.isUnderWay || item.waiting.contains { wants($0, item) } }
    for index in images.items.indices where !images.items[index].isUnderWay {
      guard images.underWay < options.parallelDownloads, uptime >= images.items[index].retryAt
      else { continue }
      images.items[index].isUnderWay = true
      images.items[index].bytes = 0
      effects.append(.fetchImage(images.items[index].image, pool: images.items[index].pool))
    }
  }

  private func wants(_ volume: VolumeID, _ item: ImageTable.Item) -> Bool {
    guard let document = volumes[volume]?.document else { return false }
    return !document.deleted && document.pool == item.pool && document.source?.image?.sha256 == item.image.sha256
  }

  /// Whether a volume does nothing but wait for an image.
  private func awaits(_ volume: VolumeID, _ sha256: String) -> Bool {
    guard let entry = volumes[volume], entry.turn.work == .idle else { return false }
    return entry.plan.steps.first == .ensureImage(sha256: sha256)
  }

  mutating func takeProgress(_ sha256: String, _ pool: String, _ bytes: Int, _ now: AgentTime) {
    guard let index = images.index(of: sha256, in: pool) else { return }
    images.items[index].bytes = bytes
    for volume in images.items[index].waiting where awaits(volume, sha256) {
      volumes[volume]?.transfer = images.transfer(of: sha256, in: pool)
      refresh(volume, now)
      tellProgress(of: volume, now)
    }
  }

  /// VMs that wait for the volume show how far it is.
  private mutating func tellProgress(of volume: VolumeID, _ now: AgentTime) {
    guard let transfer = volumes[volume]?.transfer, transfer.total > 0 else { return }
    for vm in order {
      guard var entry = vms[vm], entry.turn.work == .idle, entry.plan.waitsForDisks, entry.plan.steps.isEmpty,
        entry.document?.disks.first(where: { volumes[$0.volume]?.actual?.stored == nil })?.volume == volume
      else { continue }
      entry.progress = min(100, transfer.done * 100 / transfer.total)
      refresh(&entry, now)
      vms[vm] = entry
    }
  }

  mutating func takeImage(_ sha256: String, _ pool: String, _ failure: AgentFailure?, _ now: AgentTime) {
    guard let index = images.index(of: sha256, in: pool) else { return }
    let waiting = images.items[index].waiting
    if let failure {
      images.items[index].isUnderWay = false
      images.items[index].failures += 1
      images.items[index].failure = failure
      images.items[index].retryAt =
        now.uptime + Self.retry.delay(after: images.items[index].failures, &random)
    } else {
      images.items.remove(at: index)
    }
    for volume in waiting {
      guard let failure, awaits(volume, sha256) else {
        touch(.volume(volume))
        continue
      }
      volumes[volume]?.turn.lastFailure = failure
      volumes[volume]?.turn.activity = "fetching the image failed, trying again: \(failure.detail)"
      volumes[volume]?.transfer = nil
      refresh(volume, now)
      for vm in order where vms[vm]?.document?.disks.contains(where: { $0.volume == volume }) == true {
        touch(.vm(vm))
      }
    }
  }
}
