/// Compressed clusters: runs of bytes at any place of the file, which may share clusters of the file with each other.
///
/// Every run has data of its own, so there is a least length for each and no more runs than fit: a file of a few kilobytes
/// cannot inflate to a whole disk by naming the same run again and again.
extension QCOW2Inspection {
  /// The shortest data that inflates to a cluster. Deflate cannot do better than 1032 to 1; zstd has frames of a few bytes.
  private var leastRun: UInt64 {
    switch header.compression {
    case .zlib: max(4, header.clusterSize / 1032)
    case .zstd: 8
    }
  }

  private var mostRunsPerCluster: UInt16 { UInt16(clamping: header.clusterSize / leastRun + 1) }

  /// Where a compressed cluster's data is: its first byte, and the first byte of the last sector that it reaches into.
  func compressedPlace(_ entry: UInt64) -> (offset: UInt64, lastSector: UInt64) {
    let offsetBits = UInt64(62 - (header.clusterBits - 8))
    let offset = entry & ((1 << offsetBits) - 1)
    let moreSectors = (entry & (Self.compressedFlag - 1)) >> offsetBits
    return (offset, (offset / 512 + moreSectors) * 512)
  }

  mutating func visitCompressed(_ entry: UInt64, at place: UInt64) throws(ImageRefusal) {
    let (offset, lastSector) = compressedPlace(entry)
    guard entry >> 63 == 0, offset < 1 << 56 else {
      throw ImageRefusal(.reservedBits, at: place, "an entry of a compressed cluster has reserved bits set")
    }
    guard lastSector < fileSize, offset < fileSize else {
      throw ImageRefusal(
        .outsideFile, at: place,
        "compressed data is said to be at \(offset) to \(lastSector), but the file has \(fileSize) bytes; upload the whole image"
      )
    }
    let least = max(leastRun, lastSector > offset ? lastSector - offset + 1 : 1)
    leastCompressedBytes += least
    let first = offset / header.clusterSize
    for cluster in first...max(first, lastSector / header.clusterSize) {
      switch map.share(cluster, begins: cluster == first, limit: mostRunsPerCluster) {
      case .new: sharedClusters += 1
      case .shared: break
      case .refused:
        throw ImageRefusal(.overlap, at: place, "compressed data is said to be at \(offset), where something else is")
      case .tooMany: throw reuse(at: place)
      }
    }
    compressedClusters += 1
  }

  func checkCompressed() throws(ImageRefusal) {
    guard leastCompressedBytes <= sharedClusters * header.clusterSize else { throw reuse(at: nil) }
  }

  private func reuse(at place: UInt64?) -> ImageRefusal {
    ImageRefusal(
      .compressedReuse, at: place,
      "more clusters are compressed than there is data for: they inflate from the same bytes; `qemu-img convert` makes an honest copy"
    )
  }
}
