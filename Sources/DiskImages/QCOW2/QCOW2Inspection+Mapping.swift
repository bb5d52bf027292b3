/// The tables that say where the guest's clusters are.
extension QCOW2Inspection {
  static let offsetMask: UInt64 = 0x00FF_FFFF_FFFF_FE00
  private static let copied: UInt64 = 1 << 63
  static let compressedFlag: UInt64 = 1 << 62

  mutating func walkL1() throws(ImageRefusal) {
    let bytesPerEntry = header.l2Entries * header.clusterSize
    var done: UInt64 = 0
    let count = header.l1Entries * 8
    while done < count {
      let length = min(UInt64(TableReader.pieceBytes), count - done)
      let piece = try reader.bytes(at: header.l1Offset + done, count: Int(length), of: "the L1 table")
      for index in stride(from: 0, to: piece.count, by: 8) {
        let entry = piece.bigEndian64(index)
        if entry == 0 { continue }
        let place = header.l1Offset + done + UInt64(index)
        let number = (done + UInt64(index)) / 8
        // At most 2^22 entries of at most 2^39 bytes.
        try walkL2(entry, at: place, guestOffset: number * bytesPerEntry)
      }
      done += length
    }
  }

  private mutating func walkL2(_ entry: UInt64, at place: UInt64, guestOffset: UInt64) throws(ImageRefusal) {
    guard entry & ~(Self.offsetMask | Self.copied) == 0 else {
      throw ImageRefusal(.reservedBits, at: place, "an entry of the L1 table has reserved bits set")
    }
    guard guestOffset < header.virtualSize else {
      throw ImageRefusal(
        .hiddenData, at: place, "the L1 table goes on behind the end of the disk; `qemu-img convert` leaves that out")
    }
    let table = entry & Self.offsetMask
    guard table != 0 else {
      throw ImageRefusal(.reservedBits, at: place, "an entry of the L1 table has a flag but no table")
    }
    try take(table, needed: header.clusterSize, entryAt: place, "an L2 table")
    var done: UInt64 = 0
    while done < header.clusterSize {
      let length = min(UInt64(TableReader.pieceBytes), header.clusterSize - done)
      let piece = try reader.bytes(at: table + done, count: Int(length), of: "an L2 table")
      for index in stride(from: 0, to: piece.count, by: header.l2EntryBytes) {
        let descriptor = piece.bigEndian64(index)
        let bitmap = header.hasExtendedL2 ? piece.bigEndian64(index + 8) : 0
        if descriptor == 0 && bitmap == 0 { continue }
        let number = (done + UInt64(index)) / UInt64(header.l2EntryBytes)
        try visit(
          descriptor, bitmap, at: table + done + UInt64(index), guestOffset: guestOffset + number * header.clusterSize)
      }
      done += length
    }
  }

  private mutating func visit(
    _ entry: UInt64, _ bitmap: UInt64, at place: UInt64, guestOffset: UInt64
  ) throws(ImageRefusal) {
    guard guestOffset < header.virtualSize else {
      throw ImageRefusal(
        .hiddenData, at: place, "there is data behind the end of the disk; `qemu-img convert` leaves that out")
    }
    let length = min(header.clusterSize, header.virtualSize - guestOffset)
    if entry & Self.compressedFlag != 0 {
      guard bitmap == 0 else {
        throw ImageRefusal(.reservedBits, at: place + 8, "a compressed cluster has parts")
      }
      try visitCompressed(entry, at: place)
      allocatedClusters += 1
      allocatedBytes += length
      return
    }
    // Bit 0, "reads as zeros", exists in version 3 without extended entries only.
    let zeroFlag: UInt64 = header.version == 3 && !header.hasExtendedL2 ? 1 : 0
    guard entry & ~(Self.offsetMask | Self.copied | zeroFlag) == 0 else {
      throw ImageRefusal(.reservedBits, at: place, "an entry of an L2 table has reserved bits set")
    }
    let offset = entry & Self.offsetMask
    let readsZeros = entry & zeroFlag != 0
    let used: (end: UInt64, bytes: UInt64) =
      try header.hasExtendedL2 ? usedParts(bitmap, offset, length, at: place + 8) : (end: length, bytes: length)
    guard offset != 0 else {
      guard entry & Self.copied == 0 else {
        throw ImageRefusal(.reservedBits, at: place, "a cluster has a flag but no place")
      }
      return
    }
    try take(offset, needed: used.end, entryAt: place, "a cluster")
    if !readsZeros && used.bytes > 0 {
      allocatedClusters += 1
      allocatedBytes += used.bytes
    }
  }

  /// How far the allocated parts of a cluster reach, and how many bytes they have.
  private func usedParts(
    _ bitmap: UInt64, _ offset: UInt64, _ length: UInt64, at place: UInt64
  ) throws(ImageRefusal) -> (end: UInt64, bytes: UInt64) {
    let allocated = bitmap & 0xFFFF_FFFF
    guard allocated & (bitmap >> 32) == 0 else {
      throw ImageRefusal(.reservedBits, at: place, "parts of a cluster are both allocated and zero")
    }
    guard offset != 0 || allocated == 0 else {
      throw ImageRefusal(.reservedBits, at: place, "parts of a cluster are allocated, but it has no place")
    }
    let part = header.clusterSize / 32
    let end = UInt64(64 - allocated.leadingZeroBitCount) * part
    return (min(end, length), min(UInt64(allocated.nonzeroBitCount) * part, length))
  }
}
