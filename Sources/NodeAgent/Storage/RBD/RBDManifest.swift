import AloftModel
import JSON

/// What a pool of Ceph images knows of a volume: kept as metadata of the volume's record, an image without data.
struct RBDManifest: Sendable, Hashable, Codable {
  struct Snapshot: Sendable, Hashable, Codable {
    var id: SnapshotID
    /// The image that has it.
    var image: String
    /// How many images lie under each other there.
    var depth: Int
    /// Milliseconds since 1970; nil: begun.
    var takenAt: Int?
    var quiesced: Bool
  }

  var volume: VolumeID
  var epoch: Int
  /// What a guest reads and writes; nil: the volume is being made.
  var head: String?
  var depth: Int
  var snapshots: [Snapshot]
  /// Images that are about to be made or deleted: whatever there is of them is not needed.
  var garbage: [String]
  /// What is being filled from another pool; the volume is not here yet. Nil in most.
  var copy: Copy?

  /// An image that does not count.
  struct Copy: Sendable, Hashable, Codable { var image: String }

  init(
    volume: VolumeID, epoch: Int = 0, head: String? = nil, depth: Int = 1, snapshots: [Snapshot] = [],
    garbage: [String] = []
  ) {
    self.volume = volume
    self.epoch = epoch
    self.head = head
    self.depth = depth
    self.snapshots = snapshots
    self.garbage = garbage
  }

  /// Nil if it is not whole.
  init?(_ bytes: [UInt8]) {
    guard let manifest = try? JSONCoder.decode(RBDManifest.self, from: bytes) else { return nil }
    self = manifest
  }

  func text() throws(AgentFailure) -> String {
    do { return String(decoding: try JSONCoder.encode(self), as: UTF8.self) } catch {
      throw AgentFailure(.storage, "the manifest of \(volume) cannot be written: \(error)")
    }
  }

  /// The images that somebody needs.
  var images: Set<String> { Set(snapshots.map(\.image)).union(head.map { [$0] } ?? []) }

  func snapshot(_ id: SnapshotID) -> Snapshot? { snapshots.first { $0.id == id } }

  /// An image that has lost its last name is not needed any more.
  mutating func drop(_ image: String) { if !images.contains(image) { garbage.append(image) } }
}

/// The names of what a pool holds.
enum RBDName {
  static let prefix = "aloft."
  static let baseSnapshot = "base"
  static let imagePrefix = prefix + "image."

  /// A volume's record.
  static func record(_ volume: VolumeID) -> String { prefix + volume.description }
  /// A volume's data since a revert.
  static func data(_ volume: VolumeID, _ epoch: Int) -> String { "\(record(volume)).\(epoch)" }
  static func image(_ sha256: String) -> String { imagePrefix + sha256.lowercased() }
  /// What begins the names of images that are needed only as long as somebody works with them.
  static let temporaryPrefix = prefix + "temporary."
  /// Those that one node makes.
  static func temporaryPrefix(of node: String) -> String { "\(temporaryPrefix)\(node)." }
}
