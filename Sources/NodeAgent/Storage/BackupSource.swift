import AloftModel

/// A piece of a volume.
public struct BackupChunk: Sendable {
  /// As they are kept: sealed, if the volume is encrypted.
  public var bytes: [UInt8]
  /// Nil: it is all zeros.
  public var hash: ChunkHash?

  public init(bytes: [UInt8], hash: ChunkHash?) {
    self.bytes = bytes
    self.hash = hash
  }
}

/// What a snapshot holds, as long as it is read for a backup.
public protocol BackupSource: Sendable {
  var sizeBytes: Int { get }
  /// Whether ``changed()`` tells what differs from the base, or what there is.
  var reading: BackupReading { get }
  /// The volume with whose key chunks are sealed; nil: they are not.
  var sealing: VolumeID? { get }
  /// The numbers of the chunks that are to be read, in order; others are as they were in the base, or all zeros.
  func changed() async throws(AgentFailure) -> [Int]
  func chunk(_ index: Int) async throws(AgentFailure) -> BackupChunk
}

/// A new content of a volume, all zeros at first.
public protocol BackupTarget: Sendable {
  func write(_ bytes: [UInt8], at offset: Int) async throws(AgentFailure)
}

extension VolumeBackend {
  private var noBackups: AgentFailure { AgentFailure(.unsupported, "volumes in pools of this kind are not backed up") }

  public func read(
    _ backup: VolumeAssignment.Backup, of volume: VolumeID,
    _ body: @Sendable (any BackupSource) async throws(AgentFailure) -> Void
  ) async throws(AgentFailure) { throw noBackups }

  public func restore(
    _ volume: VolumeID, sizeBytes: Int, epoch: Int, needing bytes: Int,
    _ fill: @Sendable (any BackupTarget) async throws(AgentFailure) -> Void
  ) async throws(AgentFailure) { throw noBackups }

  public func keep(_ volume: VolumeID, asEpoch epoch: Int) async throws(AgentFailure) { throw noBackups }
}
