import AloftModel
import Crypto

extension NBDDisk: BackupTarget {}

/// What a disk holds, or the part of it that differs from a base, in chunks.
struct DiskReading: BackupSource {
  let disk: NBDDisk
  let reading: BackupReading
  /// Where there is something to read, in order.
  let ranges: [Range<Int>]
  let chunkBytes: Int
  /// What reads as zeros, in order; it need not be read.
  var holes: [Range<Int>] = []

  var sizeBytes: Int { disk.sizeBytes }

  func changed() -> [Int] {
    let chunkCount = (sizeBytes + chunkBytes - 1) / chunkBytes
    var indices: [Int] = []
    for range in ranges where !range.isEmpty {
      let first = max(range.lowerBound / chunkBytes, (indices.last ?? -1) + 1)
      let last = min((range.upperBound - 1) / chunkBytes, chunkCount - 1)
      if first <= last { indices += first...last }
    }
    return indices
  }

  func chunk(_ index: Int) async throws(AgentFailure) -> BackupChunk {
    let range = index * chunkBytes..<min(sizeBytes, (index + 1) * chunkBytes)
    if isHole(range) { return BackupChunk(bytes: [], hash: nil) }
    return try await disk.read(range) { bytes in
      let isZero = bytes.allSatisfy { $0 == 0 }
      return BackupChunk(bytes: bytes, hash: isZero ? nil : ChunkHash(Array(SHA256.hash(data: bytes))))
    }
  }

  private func isHole(_ range: Range<Int>) -> Bool {
    var (low, high) = (0, holes.count)
    while low < high {
      let middle = (low + high) / 2
      if holes[middle].upperBound < range.upperBound { low = middle + 1 } else { high = middle }
    }
    return low < holes.count && holes[low].lowerBound <= range.lowerBound
  }
}
