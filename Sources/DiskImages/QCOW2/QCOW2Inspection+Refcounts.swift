/// Reference counts. They matter as soon as somebody writes: a cluster in use that counts as free would be given out again.
extension QCOW2Inspection {
  mutating func takeRefcountBlocks() throws(ImageRefusal) {
    var done: UInt64 = 0
    while done < header.refcountTableBytes {
      let length = min(UInt64(TableReader.pieceBytes), header.refcountTableBytes - done)
      let piece = try reader.bytes(at: header.refcountTableOffset + done, count: Int(length), of: "the refcount table")
      for index in stride(from: 0, to: piece.count, by: 8) {
        let entry = piece.bigEndian64(index)
        if entry == 0 { continue }
        let place = header.refcountTableOffset + done + UInt64(index)
        guard entry & 511 == 0 else {
          throw ImageRefusal(.reservedBits, at: place, "an entry of the refcount table has reserved bits set")
        }
        try take(entry, needed: header.clusterSize, entryAt: place, "a refcount block")
      }
      done += length
    }
  }

  /// Looks that everything in use is counted. Counts that are too high only waste space.
  mutating func checkRefcounts() throws(ImageRefusal) {
    // 64 KiB of 1-bit counts to 512 bytes of 64-bit ones.
    let perBlock = (header.clusterSize * 8) >> UInt64(header.refcountOrder)
    var first: UInt64 = 0
    while first < map.clusters {
      let range = first..<min(first + perBlock, map.clusters)
      if map.firstUsed(in: range) != nil { try checkBlock(first / perBlock, range) }
      first += perBlock
    }
  }

  private mutating func checkBlock(_ number: UInt64, _ range: Range<UInt64>) throws(ImageRefusal) {
    let place = header.refcountTableOffset + number * 8
    guard number * 8 < header.refcountTableBytes else { throw uncounted(map.firstUsed(in: range), at: nil) }
    let block = try reader.bytes(at: place, count: 8, of: "the refcount table").bigEndian64(0)
    guard block != 0 else { throw uncounted(map.firstUsed(in: range), at: place) }
    // One piece of the block at a time; only pieces that count something in use are read.
    let pieceBits = min(UInt64(TableReader.pieceBytes), header.clusterSize) * 8
    var piece: (start: UInt64, bytes: [UInt8])?
    var cluster = range.lowerBound
    while let used = map.firstUsed(in: cluster..<range.upperBound) {
      let bit = (used - range.lowerBound) << UInt64(header.refcountOrder)
      let start = bit / pieceBits * pieceBits
      if piece?.start != start {
        piece = (start, try reader.bytes(at: block + start / 8, count: Int(pieceBits / 8), of: "a refcount block"))
      }
      guard let piece, isCounted(piece.bytes, bit: Int(bit - start)) else {
        throw uncounted(used, at: block + bit / 8)
      }
      cluster = used + 1
    }
  }

  private func isCounted(_ bytes: [UInt8], bit: Int) -> Bool {
    let width = 1 << header.refcountOrder
    guard width < 8 else { return bytes[bit / 8..<(bit + width) / 8].contains { $0 != 0 } }
    return (bytes[bit / 8] >> UInt8(bit % 8)) & UInt8(1 << width - 1) != 0
  }

  private func uncounted(_ cluster: UInt64?, at place: UInt64?) -> ImageRefusal {
    ImageRefusal(
      .refcountMismatch, at: place,
      "the cluster at \((cluster ?? 0) * header.clusterSize) is used but counts as free; repair the image with `qemu-img check -r all`"
    )
  }
}
