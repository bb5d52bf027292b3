import AloftModel
import JSON

/// A qcow2 file of a directory pool, by its name without the ending.
struct LayerID: Sendable, Hashable, Codable, CustomStringConvertible {
  var name: String

  init(_ name: String) { self.name = name }

  init(from decoder: any Decoder) throws { name = try decoder.singleValueContainer().decode(String.self) }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(name)
  }

  var description: String { name }
  var fileName: String { name + ".qcow2" }
}

/// What a directory pool knows of a volume beside its layers.
struct VolumeManifest: Sendable, Hashable, Codable {
  struct Snapshot: Sendable, Hashable, Codable {
    var id: SnapshotID
    var layer: LayerID
    /// Milliseconds since 1970; nil: begun.
    var takenAt: Int?
    var quiesced: Bool
    /// How long the file with the guest's memory is, once it is there; nil: there is none.
    var memoryBytes: Int?
  }

  var volume: VolumeID
  var epoch: Int
  /// What a guest writes to. Every other layer is never changed again.
  var leaf: LayerID
  var snapshots: [Snapshot]

  var names: Set<LayerID> { Set(snapshots.map(\.layer)).union([leaf]) }

  init(volume: VolumeID, epoch: Int, leaf: LayerID, snapshots: [Snapshot] = []) {
    self.volume = volume
    self.epoch = epoch
    self.leaf = leaf
    self.snapshots = snapshots
  }

  /// Nil if it is not whole.
  init?(_ bytes: [UInt8]) {
    guard let manifest = try? JSONCoder.decode(VolumeManifest.self, from: bytes) else { return nil }
    self = manifest
  }

  func bytes() throws(AgentFailure) -> [UInt8] {
    do { return try JSONCoder.encode(self) + [UInt8(ascii: "\n")] } catch {
      throw AgentFailure(.storage, "the manifest of \(volume) cannot be written: \(error)")
    }
  }
}
