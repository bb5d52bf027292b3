/// What is known of an image that may be used.
public struct ImageReport: Sendable, Equatable, Codable {
  /// How QEMU has to be told to open it. Always tell it: QEMU that guesses believes what a guest wrote into a raw disk.
  public enum Format: String, Sendable, Codable, CaseIterable {
    case raw, qcow2
  }

  /// How compressed clusters of a qcow2 file are compressed.
  public enum Compression: String, Sendable, Codable, CaseIterable {
    case zlib, zstd
  }

  /// What the disk begins with, as a firmware sees it.
  public enum PartitionTable: String, Sendable, Codable, CaseIterable {
    case gpt, mbr
    /// Neither: a bare file system, an empty disk or something unknown.
    case none
    /// It could not be looked at: the first cluster is compressed by zstd, or cannot be inflated.
    case unknown
  }

  /// The format, by content.
  public var format: Format
  /// The size of the disk that the guest sees, in bytes. For raw the file's size, rounded up to whole sectors of 512 bytes.
  public var virtualSize: UInt64
  /// The size of the file in bytes.
  public var fileSize: UInt64
  /// qcow2: 2 or 3.
  public var version: Int?
  /// qcow2: bytes in a cluster.
  public var clusterSize: UInt64?
  /// qcow2: guest clusters with data of their own.
  public var allocatedClusters: UInt64?
  /// Bytes of the disk that have data of their own: a copy that skips zeros is at most so large. For raw all of it.
  public var allocatedBytes: UInt64
  /// qcow2: how many of the allocated clusters are compressed.
  public var compressedClusters: UInt64?
  /// qcow2 with compressed clusters: how.
  public var compression: Compression?
  /// qcow2: parts of clusters are allocated by themselves (extended L2 entries). QEMU 5.2 and newer open such files.
  public var hasExtendedL2 = false
  /// qcow2: the file allows lazy refcounts.
  public var hasLazyRefcounts = false
  /// What the disk begins with.
  public var partitionTable: PartitionTable
  /// Whether a raw image is an ISO 9660 file system: an installer rather than a disk.
  public var isISO9660 = false

  /// Whether any cluster is compressed. Such an image is slower to read and cannot be grown from in place.
  public var isCompressed: Bool { (compressedClusters ?? 0) > 0 }
}
