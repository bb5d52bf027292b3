/// Why an image is not used: what is wrong, where in the file, and what would work.
public struct ImageRefusal: Error, Sendable, Equatable, Codable, CustomStringConvertible {
  /// What is wrong. A closed list.
  public enum Code: String, Sendable, Codable, CaseIterable {
    /// The file could not be read. Nothing is said about the image.
    case unreadable
    /// The file has no bytes.
    case empty
    /// The file is larger than allowed.
    case fileTooLarge = "file_too_large"
    /// A disk image of a kind that is not used here: VMDK, VDI, VHD, VHDX, QED, QCOW 1, Parallels, LUKS and others.
    case foreignFormat = "foreign_format"
    /// An archive or a compressed file, which may contain an image.
    case packedFile = "packed_file"
    /// A page of text where an image was expected, mostly the answer of a web server.
    case notAnImage = "not_an_image"
    /// The file ends before what it says to contain.
    case truncated
    /// qcow2 of a version that does not exist.
    case unsupportedVersion = "unsupported_version"
    /// The header's length is not possible, or it has fields that nobody knows.
    case headerLength = "header_length"
    /// A header extension is malformed, there twice, or unknown.
    case headerExtension = "header_extension"
    /// Clusters smaller than 512 bytes or larger than 2 MiB, or too small for extended L2 entries.
    case clusterSize = "cluster_size"
    /// The image takes data from another file, its backing file.
    case backingFile = "backing_file"
    /// The image's data is in another file.
    case dataFile = "data_file"
    /// The image is encrypted.
    case encrypted
    /// The image was not closed: its reference counts may be wrong, and whoever opens it would write to it.
    case dirty
    /// The image is marked as corrupt.
    case corrupt
    /// A feature that must be understood to read the image, and is not.
    case unknownFeature = "unknown_feature"
    /// Bits that must be zero are not.
    case reservedBits = "reserved_bits"
    /// The image has internal snapshots, which hide data.
    case internalSnapshots = "internal_snapshots"
    /// The image has persistent bitmaps.
    case bitmaps
    /// The disk is larger than allowed.
    case virtualSizeTooLarge = "virtual_size_too_large"
    /// The disk is empty, or no multiple of 512 bytes.
    case virtualSizeInvalid = "virtual_size_invalid"
    /// The compression type is unknown, or contradicts the feature bits.
    case compressionType = "compression_type"
    /// Reference counts of a width that does not exist.
    case refcountWidth = "refcount_width"
    /// The L1 or the refcount table is too small for the disk, or absurdly large.
    case tableSize = "table_size"
    /// An offset is no multiple of the cluster size.
    case misaligned
    /// A table or a cluster lies outside of the file.
    case outsideFile = "outside_file"
    /// Two things lie in the same place of the file.
    case overlap
    /// There is data behind the end of the disk.
    case hiddenData = "hidden_data"
    /// Many clusters inflate from the same compressed data.
    case compressedReuse = "compressed_reuse"
    /// A cluster that is used counts as free: it would be overwritten.
    case refcountMismatch = "refcount_mismatch"
    /// More clusters than the inspection may keep in mind.
    case tooManyClusters = "too_many_clusters"
    /// More tables than the inspection may read.
    case tooMuchMetadata = "too_much_metadata"
  }

  /// What is wrong.
  public var code: Code
  /// Where in the file, in bytes; nil: in no particular place.
  public var offset: UInt64?
  /// What was found there and what would work, in words for whoever uploaded it.
  public var detail: String

  /// Makes a refusal.
  public init(_ code: Code, at offset: UInt64? = nil, _ detail: String) {
    self.code = code
    self.offset = offset
    self.detail = detail
  }

  public var description: String { "\(code.rawValue)\(offset.map { " at byte \($0)" } ?? ""): \(detail)" }
}
