import DiskImages

/// A small qcow2 file, made byte by byte. Every test changes what it is about.
///
/// Clusters: header, refcount table, one refcount block, L1 table, one L2 table, then data.
package struct QCOW2Bytes {
  package var bytes: [UInt8]
  package let clusterBits: Int
  package let version: Int

  package var clusterSize: Int { 1 << clusterBits }
  package var refcountTable: Int { clusterSize }
  package var refcountBlock: Int { 2 * clusterSize }
  package var l1: Int { 3 * clusterSize }
  package var l2: Int { 4 * clusterSize }
  /// The first data cluster.
  package var data: Int { 5 * clusterSize }

  package static let copied: UInt64 = 1 << 63
  package static let compressed: UInt64 = 1 << 62

  package init(version: Int = 3, clusterBits: Int = 16, virtualSize: UInt64 = 1 << 20, dataClusters: Int = 2) {
    self.version = version
    self.clusterBits = clusterBits
    bytes = [UInt8](repeating: 0, count: (5 + dataClusters) << clusterBits)
    put(0x5146_49FB, at: 0, width: 4)
    put(UInt64(version), at: 4, width: 4)
    put(UInt64(clusterBits), at: 20, width: 4)
    put(virtualSize, at: 24, width: 8)
    put(1, at: 36, width: 4)
    put(UInt64(l1), at: 40, width: 8)
    put(UInt64(refcountTable), at: 48, width: 8)
    put(1, at: 56, width: 4)
    if version == 3 {
      put(4, at: 96, width: 4)
      put(112, at: 100, width: 4)
    }
    put(UInt64(refcountBlock), at: refcountTable, width: 8)
    put(UInt64(l2) | Self.copied, at: l1, width: 8)
    for cluster in 0..<5 + dataClusters { count(cluster) }
    for cluster in 0..<dataClusters { map(cluster, to: UInt64(data + cluster * clusterSize) | Self.copied) }
  }

  package mutating func put(_ value: UInt64, at offset: Int, width: Int) {
    for index in 0..<width {
      bytes[offset + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * (width - 1 - index)))
    }
  }

  /// Sets the L2 entry of a guest cluster.
  package mutating func map(_ cluster: Int, to entry: UInt64) { put(entry, at: l2 + 8 * cluster, width: 8) }

  /// Sets the reference count of a cluster of the file.
  package mutating func count(_ cluster: Int, as value: UInt64 = 1) {
    put(value, at: refcountBlock + 2 * cluster, width: 2)
  }

  /// The entry of a compressed cluster.
  package func compressedEntry(at offset: Int, moreSectors: Int = 0) -> UInt64 {
    Self.compressed | UInt64(moreSectors) << UInt64(62 - (clusterBits - 8)) | UInt64(offset)
  }

  /// Adds a header extension at the end of the header. There is one at most.
  package mutating func extend(type: UInt64, _ content: [UInt8]) {
    let start = version == 3 ? 112 : 72
    put(type, at: start, width: 4)
    put(UInt64(content.count), at: start + 4, width: 4)
    bytes.replaceSubrange(start + 8..<start + 8 + content.count, with: content)
  }

  package func inspect(_ limits: ImageLimits = ImageLimits()) throws(ImageRefusal) -> ImageReport {
    try DiskImage.inspect(MemoryImageSource(bytes), limits: limits)
  }
}

/// The code that an image is refused with; nil if it is not.
package func refusal(of bytes: [UInt8], _ limits: ImageLimits = ImageLimits()) -> ImageRefusal.Code? {
  do throws(ImageRefusal) {
    _ = try DiskImage.inspect(MemoryImageSource(bytes), limits: limits)
    return nil
  } catch { return error.code }
}
