import AloftModel

/// The images that are to be made of volumes of this node.
struct ExportTable: Sendable {
  struct Item: Sendable, Equatable {
    var export: VolumeAssignment.Export
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
  /// Milliseconds after which one that was sent is looked at again, if it is still listed.
  private static let exportLook = 60_000

  mutating func startExports(_ uptime: Int, _ effects: inout [AgentEffect]) {
    let wanted = wantedExports
    exports.items = exports.items.filter { item in
      item.isUnderWay || wanted.contains { $0.export == item.export && $0.volume == item.volume }
    }
    for item in wanted where !exports.items.contains(where: { $0.export.image == item.export.image }) {
      exports.items.append(item)
    }
    for index in exports.items.indices where !exports.items[index].isUnderWay {
      guard exports.underWay < options.parallelExports, uptime >= exports.items[index].retryAt else { continue }
      exports.items[index].isUnderWay = true
      let item = exports.items[index]
      effects.append(.export(item.export, item.volume, pool: item.pool))
    }
  }

  /// What documents list, as far as the snapshots were taken.
  private var wantedExports: [ExportTable.Item] {
    volumeOrder.flatMap { volume -> [ExportTable.Item] in
      guard let entry = volumes[volume], let document = entry.document, !document.deleted,
        let exports = document.exports
      else { return [] }
      return exports.filter { entry.actual?.stored?.hasTaken($0.snapshot) == true }.map {
        ExportTable.Item(export: $0, volume: volume, pool: document.pool)
      }
    }
  }

  /// Those for which something is kept.
  var listedExports: Set<ImageID> {
    let listed = volumes.values.flatMap { $0.document?.exports ?? [] }.map(\.image)
    return Set(listed).union(exports.items.filter(\.isUnderWay).map(\.export.image))
  }

  mutating func takeExport(_ image: ImageID, _ failure: AgentFailure?, _ now: AgentTime) {
    guard let index = exports.items.firstIndex(where: { $0.export.image == image }) else { return }
    exports.items[index].isUnderWay = false
    if failure == nil {
      // The document does not list it any more as soon as it is there.
      exports.items[index].failures = 0
      exports.items[index].retryAt = now.uptime + Self.exportLook
    } else {
      exports.items[index].failures += 1
      exports.items[index].retryAt = now.uptime + Self.retry.delay(after: exports.items[index].failures, &random)
    }
  }
}
