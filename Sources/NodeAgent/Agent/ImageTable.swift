import AloftModel

/// The images that VMs of this node wait for.
struct ImageTable: Sendable {
  struct Item: Sendable {
    var image: Assignment.BaseImage
    var waiting: [VMID] = []
    var isUnderWay = false
    var bytes = 0
    var failures = 0
    var failure: AgentFailure?
    var retryAt = 0
  }

  /// In the order in which they were first wanted.
  var items: [Item] = []

  mutating func want(_ image: Assignment.BaseImage, for vm: VMID) {
    let index = index(of: image.sha256) ?? items.endIndex
    if index == items.endIndex { items.append(Item(image: image)) }
    if !items[index].waiting.contains(vm) { items[index].waiting.append(vm) }
  }

  func index(of sha256: String) -> Int? { items.firstIndex { $0.image.sha256 == sha256 } }

  func failure(of sha256: String) -> AgentFailure? {
    index(of: sha256).flatMap { items[$0].failure }
  }

  func progress(of sha256: String) -> Int? {
    guard let item = index(of: sha256).map({ items[$0] }), item.isUnderWay, item.image.sizeBytes > 0
    else { return nil }
    return min(100, item.bytes * 100 / item.image.sizeBytes)
  }

  var underWay: Int { items.count { $0.isUnderWay } }

  /// The uptime at which a download can begin, when `limit` may be under way.
  func wakeAt(limit: Int) -> Int? {
    underWay < limit ? items.filter { !$0.isUnderWay }.map(\.retryAt).min() : nil
  }
}

extension AgentMachine {
  mutating func startImages(_ uptime: Int, _ effects: inout [AgentEffect]) {
    images.items = images.items.filter { item in
      item.isUnderWay || item.waiting.contains { wants($0, item.image.sha256) }
    }
    for index in images.items.indices where !images.items[index].isUnderWay {
      guard images.underWay < options.parallelDownloads, uptime >= images.items[index].retryAt
      else { continue }
      images.items[index].isUnderWay = true
      images.items[index].bytes = 0
      effects.append(.fetchImage(images.items[index].image))
    }
  }

  private func wants(_ vm: VMID, _ sha256: String) -> Bool {
    guard let document = vms[vm]?.document else { return false }
    return !document.deleted && document.image.sha256 == sha256
  }

  mutating func takeProgress(_ sha256: String, _ bytes: Int, _ now: AgentTime) {
    guard let index = images.index(of: sha256) else { return }
    images.items[index].bytes = bytes
    for vm in images.items[index].waiting {
      guard var entry = vms[vm], entry.plan.steps.first == .ensureImage else { continue }
      entry.progress = images.progress(of: sha256)
      refresh(&entry, now)
      vms[vm] = entry
    }
  }

  mutating func takeImage(_ sha256: String, _ failure: AgentFailure?, _ now: AgentTime) {
    guard let index = images.index(of: sha256) else { return }
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
    for vm in waiting {
      if var entry = vms[vm], entry.plan.steps.first == .ensureImage, let failure {
        entry.lastFailure = failure
        entry.activity = "fetching the image failed, trying again: \(failure.detail)"
        entry.progress = nil
        refresh(&entry, now)
        vms[vm] = entry
      } else {
        touch(vm)
      }
    }
  }
}
