/// The header of a qcow2 file (QEMU, docs/interop/qcow2), after everything in it that makes an image unusable was refused.
struct QCOW2Header: Equatable {
  var version: Int
  var clusterBits: Int
  var virtualSize: UInt64
  var l1Entries: UInt64
  var l1Offset: UInt64
  var refcountTableOffset: UInt64
  var refcountTableClusters: UInt64
  /// The width of a reference count is 1 << this, in bits.
  var refcountOrder: Int
  var length: Int
  var hasExtendedL2 = false
  var hasLazyRefcounts = false
  var compression = ImageReport.Compression.zlib

  var clusterSize: UInt64 { 1 << UInt64(clusterBits) }
  var l2EntryBytes: Int { hasExtendedL2 ? 16 : 8 }
  /// Guest clusters that one L2 table describes.
  var l2Entries: UInt64 { clusterSize / UInt64(l2EntryBytes) }
  var refcountTableBytes: UInt64 { refcountTableClusters << UInt64(clusterBits) }

  /// QEMU's own limits; larger tables are refused by it too.
  static let maxL1Bytes: UInt64 = 32 << 20
  static let maxRefcountTableBytes: UInt64 = 8 << 20

  init(_ reader: inout TableReader, _ limits: ImageLimits) throws(ImageRefusal) {
    let bytes = try reader.bytes(at: 0, count: 72, of: "the header")
    version = Int(bytes.bigEndian(4, 4))
    guard version == 2 || version == 3 else {
      throw ImageRefusal(
        .unsupportedVersion, at: 4,
        "qcow2 has the versions 2 and 3, this says \(version); convert it with `qemu-img convert`")
    }
    guard bytes.bigEndian(8, 8) == 0 else {
      throw ImageRefusal(
        .backingFile, at: 8,
        "the image takes data from a backing file; `qemu-img convert -O qcow2` makes one that needs no other file")
    }
    guard bytes.bigEndian(32, 4) == 0 else {
      throw ImageRefusal(
        .encrypted, at: 32, "the image is encrypted; convert it to one that is not")
    }
    let clusterBits = bytes.bigEndian(20, 4)
    guard (9...21).contains(clusterBits) else {
      throw ImageRefusal(
        .clusterSize, at: 20,
        "clusters have 2^9 to 2^21 bytes, these 2^\(clusterBits); convert it with `qemu-img convert`")
    }
    self.clusterBits = Int(clusterBits)
    virtualSize = bytes.bigEndian(24, 8)
    l1Entries = bytes.bigEndian(36, 4)
    l1Offset = bytes.bigEndian(40, 8)
    refcountTableOffset = bytes.bigEndian(48, 8)
    refcountTableClusters = bytes.bigEndian(56, 4)
    refcountOrder = 4
    length = 72
    let snapshots = bytes.bigEndian(60, 4)
    guard snapshots == 0 else {
      throw ImageRefusal(
        .internalSnapshots, at: 60,
        "the image has \(snapshots) internal snapshots, which hide data; `qemu-img convert -O qcow2` leaves them out")
    }
    if version == 3 { try readVersion3(&reader) }
    try checkVirtualSize(limits)
    try checkTables(fileSize: reader.source.size)
  }

  private func checkVirtualSize(_ limits: ImageLimits) throws(ImageRefusal) {
    guard virtualSize > 0, virtualSize % 512 == 0 else {
      throw ImageRefusal(
        .virtualSizeInvalid, at: 24, "the disk has \(virtualSize) bytes; it must be a multiple of 512, and not empty")
    }
    guard virtualSize <= limits.maxVirtualSize else {
      throw ImageRefusal(
        .virtualSizeTooLarge, at: 24,
        "the disk has \(virtualSize) bytes, at most \(limits.maxVirtualSize) are allowed; shrink it with `qemu-img resize --shrink`"
      )
    }
  }

  private func checkTables(fileSize: UInt64) throws(ImageRefusal) {
    // Both factors are powers of two and their product is at most 2^39.
    let bytesPerL1Entry = l2Entries * clusterSize
    let needed = (virtualSize - 1) / bytesPerL1Entry + 1
    guard l1Entries >= needed, l1Entries * 8 <= Self.maxL1Bytes else {
      throw ImageRefusal(
        .tableSize, at: 36,
        "the L1 table has \(l1Entries) entries; the disk needs \(needed), and at most \(Self.maxL1Bytes / 8) are possible"
      )
    }
    guard refcountTableClusters > 0, refcountTableBytes <= Self.maxRefcountTableBytes else {
      throw ImageRefusal(
        .tableSize, at: 56,
        "the refcount table has \(refcountTableClusters) clusters; 1 to \(Self.maxRefcountTableBytes >> UInt64(clusterBits)) are possible"
      )
    }
    try checkPlace(l1Offset, l1Entries * 8, field: 40, "the L1 table", fileSize)
    try checkPlace(refcountTableOffset, refcountTableBytes, field: 48, "the refcount table", fileSize)
  }

  private func checkPlace(
    _ offset: UInt64, _ count: UInt64, field: UInt64, _ what: String, _ fileSize: UInt64
  ) throws(ImageRefusal) {
    guard offset % clusterSize == 0 else {
      throw ImageRefusal(
        .misaligned, at: field, "\(what) is at byte \(offset), which is no multiple of the cluster size")
    }
    let (end, overflow) = offset.addingReportingOverflow(count)
    guard !overflow, end <= fileSize else {
      throw ImageRefusal(
        .outsideFile, at: field,
        "\(what) has \(count) bytes at \(offset), but the file has \(fileSize) bytes; upload the whole image")
    }
  }
}
