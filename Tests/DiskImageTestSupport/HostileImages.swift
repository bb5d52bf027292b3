import DiskImages

/// An image that must be refused, and how.
package struct HostileImage: Sendable, CustomStringConvertible {
  package let name: String
  package let code: ImageRefusal.Code
  package let bytes: [UInt8]

  package var description: String { name }

  package init(_ name: String, _ code: ImageRefusal.Code, bytes: [UInt8]) {
    self.name = name
    self.code = code
    self.bytes = bytes
  }

  package init(
    _ name: String, _ code: ImageRefusal.Code, _ image: QCOW2Bytes = QCOW2Bytes(), _ change: (inout QCOW2Bytes) -> Void
  ) {
    var image = image
    change(&image)
    self.init(name, code, bytes: image.bytes)
  }

  package static let all = header + features + tables + mapping + compression + others

  private static let header = [
    HostileImage("a backing file", .backingFile) {
      $0.put(200, at: 8, width: 8)
      $0.put(11, at: 16, width: 4)
      $0.bytes.replaceSubrange(200..<211, with: Array("/etc/shadow".utf8))
    },
    HostileImage("a backing file without a length", .backingFile) { $0.put(1, at: 8, width: 8) },
    HostileImage("a backing format alone", .backingFile) { $0.extend(type: 0xE279_2ACA, Array("raw".utf8)) },
    HostileImage("a data file's name", .dataFile) { $0.extend(type: 0x4441_5441, Array("/etc/shadow".utf8)) },
    HostileImage("bitmaps", .bitmaps) { $0.extend(type: 0x2385_2875, [UInt8](repeating: 0, count: 24)) },
    HostileImage("an encryption header", .encrypted) { $0.extend(type: 0x0537_BE77, [UInt8](repeating: 0, count: 16)) },
    HostileImage("an unknown extension", .headerExtension) { $0.extend(type: 0x1234_5678, [1]) },
    HostileImage("an extension that leaves the cluster", .headerExtension) {
      $0.extend(type: 0x6803_F857, [])
      $0.put(0xFFFF_FFF0, at: 116, width: 4)
    },
    HostileImage("version 4", .unsupportedVersion) { $0.put(4, at: 4, width: 4) },
    HostileImage("a header longer than its cluster", .headerLength) { $0.put(0xFFFF_FFF8, at: 100, width: 4) },
    HostileImage("a header of 96 bytes", .headerLength) { $0.put(96, at: 100, width: 4) },
    HostileImage("a header of 107 bytes", .headerLength) { $0.put(107, at: 100, width: 4) },
    HostileImage("header fields of the future", .headerLength) { $0.put(1, at: 105, width: 1) },
    HostileImage("clusters of 256 bytes", .clusterSize) { $0.put(8, at: 20, width: 4) },
    HostileImage("clusters of 4 MiB", .clusterSize) { $0.put(22, at: 20, width: 4) },
    HostileImage("clusters of 2^4294967295 bytes", .clusterSize) { $0.put(.max, at: 20, width: 4) },
    HostileImage("AES", .encrypted) { $0.put(1, at: 32, width: 4) },
    HostileImage("LUKS", .encrypted) { $0.put(2, at: 32, width: 4) },
    HostileImage("an internal snapshot", .internalSnapshots) { $0.put(1, at: 60, width: 4) },
    HostileImage("no disk", .virtualSizeInvalid) { $0.put(0, at: 24, width: 8) },
    HostileImage("half a sector", .virtualSizeInvalid) { $0.put(1000, at: 24, width: 8) },
    HostileImage("8 EiB", .virtualSizeTooLarge) { $0.put(1 << 63, at: 24, width: 8) },
    HostileImage("the largest number of sectors", .virtualSizeTooLarge) { $0.put(.max << 9, at: 24, width: 8) },
  ]

  private static let features = [
    HostileImage("dirty", .dirty) { $0.put(1, at: 72, width: 8) },
    HostileImage("corrupt", .corrupt) { $0.put(2, at: 72, width: 8) },
    HostileImage("an external data file", .dataFile) { $0.put(4, at: 72, width: 8) },
    HostileImage("a raw external data file", .dataFile) { $0.put(2, at: 88, width: 8) },
    HostileImage("unknown incompatible features", .unknownFeature) { $0.put(1 << 40, at: 72, width: 8) },
    HostileImage("unknown autoclear features", .unknownFeature) { $0.put(1 << 5, at: 88, width: 8) },
    HostileImage("consistent bitmaps", .bitmaps) { $0.put(1, at: 88, width: 8) },
    HostileImage("a compression type without its bit", .compressionType) { $0.put(1, at: 104, width: 1) },
    HostileImage("an unknown compression type", .compressionType) {
      $0.put(8, at: 72, width: 8)
      $0.put(7, at: 104, width: 1)
    },
    HostileImage("extended entries in small clusters", .clusterSize, QCOW2Bytes(clusterBits: 12)) {
      $0.put(16, at: 72, width: 8)
    },
    HostileImage("reference counts of 128 bits", .refcountWidth) { $0.put(7, at: 96, width: 4) },
  ]

  private static let tables = [
    HostileImage("an L1 table outside of the file", .outsideFile) { $0.put(1 << 40, at: 40, width: 8) },
    HostileImage("an L1 table at the end of all numbers", .outsideFile) { $0.put(.max << 16, at: 40, width: 8) },
    HostileImage("an L1 table between clusters", .misaligned) { $0.put(UInt64($0.l1 + 512), at: 40, width: 8) },
    HostileImage("an L1 table of 32 GiB", .tableSize) { $0.put(.max, at: 36, width: 4) },
    HostileImage("an L1 table too small for the disk", .tableSize) { $0.put(1 << 40, at: 24, width: 8) },
    HostileImage("an L1 table in the header", .overlap) { $0.put(0, at: 40, width: 8) },
    HostileImage("an L1 table in the refcount table", .overlap) { $0.put(UInt64($0.refcountTable), at: 40, width: 8) },
    HostileImage("no refcount table", .tableSize) { $0.put(0, at: 56, width: 4) },
    HostileImage("an endless refcount table", .tableSize) { $0.put(.max, at: 56, width: 4) },
    HostileImage("a refcount table outside of the file", .outsideFile) { $0.put(1 << 62, at: 48, width: 8) },
    HostileImage("a refcount block outside of the file", .outsideFile) {
      $0.put(.max << 16, at: $0.refcountTable, width: 8)
    },
    HostileImage("a refcount block in the L1 table", .overlap) {
      $0.put(UInt64($0.l1), at: $0.refcountTable, width: 8)
    },
    HostileImage("a refcount block with flags", .reservedBits) {
      $0.put(UInt64($0.refcountBlock) | 1, at: $0.refcountTable, width: 8)
    },
    HostileImage("a used cluster that counts as free", .refcountMismatch) { $0.count(5, as: 0) },
    HostileImage("no reference counts", .refcountMismatch) { $0.put(0, at: $0.refcountTable, width: 8) },
    HostileImage("more tables than the file has room for", .hiddenData) {
      $0.put(100, at: 36, width: 4)
      $0.put(UInt64($0.data) | QCOW2Bytes.copied, at: $0.l1 + 8 * 50, width: 8)
    },
  ]

  private static let mapping = [
    HostileImage("an L2 table outside of the file", .outsideFile) { $0.put(1 << 50, at: $0.l1, width: 8) },
    HostileImage("an L2 table between clusters", .misaligned) { $0.put(UInt64($0.l2 + 512), at: $0.l1, width: 8) },
    HostileImage("an L2 table that is the L1 table", .overlap) { $0.put(UInt64($0.l1), at: $0.l1, width: 8) },
    HostileImage("an L1 entry with reserved bits", .reservedBits) {
      $0.put(UInt64($0.l2) | 1 << 57, at: $0.l1, width: 8)
    },
    HostileImage("a cluster outside of the file", .outsideFile) { $0.map(0, to: 1 << 40) },
    HostileImage("a cluster that is the header", .reservedBits) { $0.map(0, to: QCOW2Bytes.copied) },
    HostileImage("a cluster that is the L2 table", .overlap) { $0.map(0, to: UInt64($0.l2)) },
    HostileImage("a cluster that is there twice", .overlap) { $0.map(3, to: UInt64($0.data) | QCOW2Bytes.copied) },
    HostileImage("a cluster between clusters", .misaligned) { $0.map(0, to: UInt64($0.data + 512)) },
    HostileImage("an L2 entry with reserved bits", .reservedBits) { $0.map(0, to: UInt64($0.data) | 1 << 58) },
    HostileImage("an L2 entry with low bits", .reservedBits) { $0.map(0, to: UInt64($0.data) | 4) },
    HostileImage("a zero cluster in version 2", .reservedBits, QCOW2Bytes(version: 2)) {
      $0.map(0, to: UInt64($0.data) | 1)
    },
    HostileImage("data behind the end of the disk", .hiddenData) { $0.map(16, to: UInt64($0.data)) },
    HostileImage("a file that ends in its last cluster", .outsideFile) { $0.bytes.removeLast(512) },
    HostileImage("a file that ends before its data", .outsideFile) { $0.bytes.removeSubrange($0.data...) },
    HostileImage("a file that ends in its L2 table", .outsideFile) { $0.bytes.removeSubrange(($0.l2 + 512)...) },
    HostileImage("a file that ends in its header", .truncated) { $0.bytes.removeSubrange(90...) },
    HostileImage("only the magic", .truncated) { $0.bytes.removeSubrange(8...) },
    HostileImage("extended entries: parts without a place", .reservedBits) {
      $0.put(16, at: 72, width: 8)
      $0.put(0, at: $0.l2, width: 8)
      $0.put(1, at: $0.l2 + 8, width: 8)
    },
    HostileImage("extended entries: parts both allocated and zero", .reservedBits) {
      $0.put(16, at: 72, width: 8)
      $0.put(1 << 32 | 1, at: $0.l2 + 8, width: 8)
    },
  ]

  private static let compression = [
    HostileImage("a bomb: all clusters from one run", .compressedReuse, bomb()) { _ in },
    HostileImage("a bomb: runs that begin one after another", .compressedReuse, bomb(step: 1)) { _ in },
    HostileImage("a bomb: long runs that overlap", .compressedReuse, bomb(step: 512, moreSectors: 100)) { _ in },
    HostileImage("compressed data in the header", .overlap) { $0.map(4, to: $0.compressedEntry(at: 300)) },
    HostileImage("compressed data in a cluster of data", .overlap) { $0.map(4, to: $0.compressedEntry(at: $0.data)) },
    HostileImage("compressed data outside of the file", .outsideFile) {
      $0.map(4, to: $0.compressedEntry(at: 1 << 40))
    },
    HostileImage("compressed data that leaves the file", .outsideFile) {
      $0.map(1, to: $0.compressedEntry(at: $0.data + $0.clusterSize, moreSectors: 200))
    },
    HostileImage("compressed data with a flag", .reservedBits) {
      $0.map(1, to: $0.compressedEntry(at: $0.data + $0.clusterSize) | QCOW2Bytes.copied)
    },
    HostileImage("compressed data with parts", .reservedBits) {
      $0.put(16, at: 72, width: 8)
      $0.put($0.compressedEntry(at: $0.data), at: $0.l2, width: 8)
      $0.put(1, at: $0.l2 + 8, width: 8)
    },
  ]

  /// Every cluster of a 512 MiB disk inflates from (nearly) the same bytes.
  private static func bomb(step: Int = 0, moreSectors: Int = 0) -> QCOW2Bytes {
    var image = QCOW2Bytes(virtualSize: 512 << 20, dataClusters: 1)
    if moreSectors > 0 { image.bytes += [UInt8](repeating: 0, count: 8 * image.clusterSize) }
    for cluster in 5..<14 { image.count(cluster) }
    for cluster in 0..<(moreSectors > 0 ? 512 : 8192) {
      image.map(cluster, to: image.compressedEntry(at: image.data + cluster * step, moreSectors: moreSectors))
    }
    return image
  }

  private static let others: [HostileImage] = [
    HostileImage("nothing", .empty, bytes: []),
    foreign("QCOW 1", [0x51, 0x46, 0x49, 0xFB, 0, 0, 0, 1]),
    foreign("VMDK", Array("KDMV".utf8)),
    foreign("VMDK of ESX", Array("COWD".utf8)),
    foreign("a VMDK descriptor", Array("# Disk DescriptorFile\nRW 63 FLAT \"/etc/shadow\" 0\n".utf8)),
    foreign("VDI", [UInt8](repeating: 0x20, count: 64) + [0x7F, 0x10, 0xDA, 0xBE]),
    foreign("VHD", Array("conectix".utf8)),
    HostileImage("a fixed VHD", .foreignFormat, bytes: raw(4096) + Array("conectix".utf8) + raw(504)),
    foreign("VHDX", Array("vhdxfile".utf8)),
    foreign("QED", [0x51, 0x45, 0x44, 0]),
    foreign("Parallels", Array("WithoutFreeSpace".utf8)),
    foreign("LUKS", [0x4C, 0x55, 0x4B, 0x53, 0xBA, 0xBE, 0, 1]),
    foreign("Bochs", Array("Bochs Virtual HD Image".utf8)),
    HostileImage("gzip", .packedFile, bytes: [0x1F, 0x8B, 0x08, 0] + raw(600)),
    HostileImage("xz", .packedFile, bytes: [0xFD, 0x37, 0x7A, 0x58, 0x5A, 0] + raw(600)),
    HostileImage("tar", .packedFile, bytes: raw(257) + Array("ustar".utf8) + raw(600)),
    HostileImage("a web page", .notAnImage, bytes: Array("\n <!DOCTYPE html><title>404</title>".utf8)),
  ]

  private static func raw(_ count: Int) -> [UInt8] { [UInt8](repeating: 0, count: count) }

  private static func foreign(_ name: String, _ start: [UInt8]) -> HostileImage {
    HostileImage(name, .foreignFormat, bytes: start + raw(1024))
  }
}
