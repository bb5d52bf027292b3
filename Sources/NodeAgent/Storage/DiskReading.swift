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
  /// What seals the chunks of an encrypted volume.
  var seal: ChunkSeal?

  var sealing: VolumeID? { seal?.volume }
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
    let seal = seal
    let result = try await disk.read(range) { bytes -> Result<BackupChunk, AgentFailure> in
      if bytes.allSatisfy({ $0 == 0 }) { return .success(BackupChunk(bytes: bytes, hash: nil)) }
      do throws(AgentFailure) {
        let kept = try seal?.seal(bytes) ?? bytes
        return .success(BackupChunk(bytes: kept, hash: ChunkHash(Array(SHA256.hash(data: kept)))))
      } catch { return .failure(error) }
    }
    return try result.get()
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
