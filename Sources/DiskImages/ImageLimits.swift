/// What an image may be and what its inspection may cost.
public struct ImageLimits: Sendable, Equatable, Codable {
  /// The largest disk that a guest may see, in bytes.
  public var maxVirtualSize: UInt64
  /// The largest file, in bytes. Sparse files can claim any size, so it is not bounded by what was uploaded.
  public var maxFileSize: UInt64
  /// How many clusters a qcow2 file may have: the inspection keeps two bytes for each that is used. The default takes
  /// 32 MiB and is 1 TiB of file with the usual clusters of 64 KiB, 8 GiB with the smallest ones.
  public var maxHostClusters: UInt64
  /// How many bytes of tables may be read: this bounds the time.
  public var maxTableBytes: UInt64

  /// Makes limits.
  public init(
    maxVirtualSize: UInt64 = 16 << 40, maxFileSize: UInt64 = 16 << 40, maxHostClusters: UInt64 = 1 << 24,
    maxTableBytes: UInt64 = 1 << 30
  ) {
    self.maxVirtualSize = maxVirtualSize
    self.maxFileSize = maxFileSize
    self.maxHostClusters = maxHostClusters
    self.maxTableBytes = maxTableBytes
  }
}
