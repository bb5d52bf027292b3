import AloftModel
import JSON

// Looking through a pool that nodes share, while they work in it.
//
// What one list of names shows is compared with the database, and with the manifests where those tell more; what seems to be nobody's,
// or missing, counts only if a list that was made afterwards shows the same. A volume's row is there before anything is made for it and
// until all of it is gone; a manifest names an image before it is made and until it is gone. So whatever is in the middle of being made
// or deleted is either explained or not there any more.

/// The images of a pool and their snapshots, by their names.
struct RBDInventory: Sendable {
  private struct Line: Decodable {
    var image: String
    var snapshot: String?
  }

  private(set) var snapshots: [String: Set<String>] = [:]
  /// What there is of volumes: the images with their data. One without is recorded, and no more.
  let volumes: [VolumeID: [String]]

  /// Reads what `rbd ls --long` says. What is not Aloft's is left out.
  init(_ said: [UInt8]) throws(AgentFailure) {
    for line in try RBDCommand.decode(said, as: [Line].self) where line.image.hasPrefix(RBDName.prefix) {
      snapshots[line.image, default: []].formUnion(line.snapshot.map { [$0] } ?? [])
    }
    volumes = snapshots.keys.sorted().reduce(into: [:]) { volumes, image in
      guard case .volume(let volume, let epoch) = RBDName.meaning(of: image) else { return }
      volumes[volume, default: []] += epoch == nil ? [] : [image]
    }
  }

  func has(_ suspect: RBDSuspect) -> Bool {
    switch suspect {
    case .volume(let volume): volumes[volume] != nil
    case .image(let image): snapshots[image] != nil
    case .snapshot(let name, let image): snapshots[image]?.contains(name) == true
    }
  }
}

/// Something that nobody seems to need.
enum RBDSuspect: Sendable, Hashable {
  case volume(VolumeID)
  case image(String)
  case snapshot(String, of: String)

  var description: String {
    switch self {
    case .volume(let volume): "volume \(volume)"
    case .image(let image): "image \(image)"
    case .snapshot(let name, let image): "snapshot \(image)@\(name)"
    }
  }
}

extension RBDName {
  enum Meaning {
    /// A volume's record, or its data of one epoch.
    case volume(VolumeID, epoch: Int?)
    /// What an agent removes by itself as soon as nothing needs it.
    case transient
    case unknown
  }

  static func meaning(of image: String) -> Meaning {
    if image.hasPrefix(imagePrefix) || image.hasPrefix(temporaryPrefix) { return .transient }
    let words = image.dropFirst(prefix.count).split(separator: ".", omittingEmptySubsequences: false)
    guard words.count <= 2, let volume = words.first.flatMap({ VolumeID(String($0)) }) else { return .unknown }
    if words.count == 1 { return .volume(volume, epoch: nil) }
    // What has come from another pool has a number of its own.
    if words[1].first == "m", UInt32(words[1].dropFirst()) != nil { return .volume(volume, epoch: 0) }
    guard let epoch = Int(words[1]), data(volume, epoch) == image else { return .unknown }
    return .volume(volume, epoch: epoch)
  }
}

extension RBDPool {
  /// For how many milliseconds a look holds that has found nothing.
  private static let lookInterval = 600_000

  func findings(
    uptime: Int,
    comparing compare: @Sendable (SharedPoolContents) async throws(AgentFailure) -> SharedPoolDifferences
  ) async throws(AgentFailure) -> [String] {
    if let cleanAt, uptime - cleanAt < Self.lookInterval { return [] }
    cleanAt = nil
    var found = try await foundAmongImages(compare).map { "\($0) in pool \(name)" }
    found += try await foundInTrash().map { "image \($0) in the trash of pool \(name)" }
    if found.isEmpty { cleanAt = uptime }
    return found
  }

  private func inventory() async throws(AgentFailure) -> RBDInventory {
    try RBDInventory(try await rbd.list())
  }

  private func foundAmongImages(
    _ compare: @Sendable (SharedPoolContents) async throws(AgentFailure) -> SharedPoolDifferences
  ) async throws(AgentFailure) -> [String] {
    let before = try await inventory()
    let differences = try await compare(Self.contents(before))
    let suspects = try await suspects(in: before, differences)
    if suspects.isEmpty, differences.missing.isEmpty { return [] }
    let after = try await inventory()
    var found = suspects.filter { after.has($0) }.map(\.description)
    let missing = Set(differences.missing).subtracting(after.volumes.keys)
    if !missing.isEmpty {
      // One that was deleted meanwhile is not missed.
      let still = try await compare(Self.contents(after)).missing
      found += still.filter(missing.contains).map { "nothing of volume \($0)" }
    }
    return found.sorted()
  }

  private static func contents(_ inventory: RBDInventory) -> SharedPoolContents {
    let snapshots = inventory.volumes.values.joined().flatMap { inventory.snapshots[$0] ?? [] }
    return SharedPoolContents(
      volumes: inventory.volumes.keys.sorted { $0.description < $1.description },
      snapshots: Set(snapshots.compactMap { SnapshotID($0) }).sorted { $0.description < $1.description })
  }

  private func suspects(
    in inventory: RBDInventory, _ differences: SharedPoolDifferences
  ) async throws(AgentFailure) -> [RBDSuspect] {
    let unknown = Set(differences.unknownVolumes)
    let unknownSnapshots = Set(differences.unknownSnapshots.map(\.description))
    var suspects: [RBDSuspect] = unknown.map { .volume($0) }
    for image in inventory.snapshots.keys {
      guard case .unknown = RBDName.meaning(of: image) else { continue }
      suspects.append(.image(image))
    }
    for (volume, images) in inventory.volumes where !unknown.contains(volume) {
      if inventory.snapshots[RBDName.record(volume)] == nil {
        // The record is there before the data and until they are gone: it was lost.
        suspects += images.map { .image($0) }
        continue
      }
      let strange = images.filter { image in
        inventory.snapshots[image]?.contains { unknownSnapshots.contains($0) || SnapshotID($0) == nil } == true
      }
      // Most have one image, whose snapshots are all known: their manifests need not be read.
      guard images.count > 1 || !strange.isEmpty, case .known(let manifest) = try await record(of: volume) else {
        continue
      }
      let known = manifest.images.union(manifest.garbage).union([manifest.copy?.image].compactMap { $0 })
      suspects += images.filter { !known.contains($0) }.map { .image($0) }
      for image in strange where known.contains(image) {
        let names = (inventory.snapshots[image] ?? []).filter { name in
          !manifest.snapshots.contains { $0.image == image && $0.id.description == name }
        }
        suspects += names.map { .snapshot($0, of: image) }
      }
    }
    // Those that should have gone by themselves.
    return suspects + overdue.filter { inventory.snapshots[$0] != nil }.map { .image($0) }
  }

  private struct TrashLine: Decodable {
    var id: String
    var name: String
  }

  private struct SnapshotLine: Decodable {
    struct Namespace: Decodable { var type: String }
    var namespace: Namespace?
  }

  /// What an agent puts there has no snapshots but those that clones need, and goes with them.
  private func foundInTrash() async throws(AgentFailure) -> [String] {
    let lines = try RBDCommand.decode(try await rbd.read("trash", "ls", "--format", "json"), as: [TrashLine].self)
    var found: [String] = []
    for line in lines where line.name.hasPrefix(RBDName.prefix) {
      let said = try await rbd.find("snap", "ls", "--all", "--image-id", line.id, "--format", "json")
      guard let said else { continue }
      let isKept = try RBDCommand.decode(said, as: [SnapshotLine].self).contains { $0.namespace?.type == "user" }
      if isKept { found.append(line.name) }
    }
    return found.sorted()
  }
}
