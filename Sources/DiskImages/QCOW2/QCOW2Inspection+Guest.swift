/// What the guest will see, as far as the report needs it.
extension QCOW2Inspection {
  mutating func partitionTable() throws(ImageRefusal) -> ImageReport.PartitionTable {
    var start: [UInt8] = []
    while start.count < PartitionTables.bytes, UInt64(start.count) < header.virtualSize {
      let wanted = min(header.clusterSize, UInt64(PartitionTables.bytes - start.count))
      guard let bytes = try guestBytes(cluster: UInt64(start.count) / header.clusterSize, count: Int(wanted)) else {
        return .unknown
      }
      start += bytes
    }
    return PartitionTables.recognise(start)
  }

  /// The first bytes of a guest cluster; nil where they cannot be had. Everything was checked by the walk before.
  private mutating func guestBytes(cluster: UInt64, count: Int) throws(ImageRefusal) -> [UInt8]? {
    let zeros = [UInt8](repeating: 0, count: count)
    let table = try entry(header.l1Offset, cluster / header.l2Entries * 8) & Self.offsetMask
    guard table != 0 else { return zeros }
    let index = cluster % header.l2Entries * UInt64(header.l2EntryBytes)
    let descriptor = try entry(table, index)
    if descriptor & Self.compressedFlag != 0 { return try inflated(descriptor, count) }
    let offset = descriptor & Self.offsetMask
    guard offset != 0, header.hasExtendedL2 || descriptor & 1 == 0 else { return zeros }
    var bytes = try available(offset, count)
    bytes += zeros.dropFirst(bytes.count)
    guard header.hasExtendedL2 else { return bytes }
    let allocated = try entry(table, index + 8)
    for place in bytes.indices where allocated >> (UInt64(place) * 32 / header.clusterSize) & 1 == 0 {
      bytes[place] = 0
    }
    return bytes
  }

  private mutating func inflated(_ descriptor: UInt64, _ count: Int) throws(ImageRefusal) -> [UInt8]? {
    guard header.compression == .zlib else { return nil }
    let (offset, lastSector) = compressedPlace(descriptor)
    let length = min(lastSector + 512 - offset, 2 * header.clusterSize)
    return Inflate.prefix(of: try available(offset, Int(length)), count: count)
  }

  private mutating func available(_ offset: UInt64, _ count: Int) throws(ImageRefusal) -> [UInt8] {
    try reader.bytes(at: offset, count: Int(min(UInt64(count), fileSize - offset)), of: "a cluster")
  }

  private mutating func entry(_ table: UInt64, _ index: UInt64) throws(ImageRefusal) -> UInt64 {
    try reader.bytes(at: table + index, count: 8, of: "a table").bigEndian64(0)
  }
}
