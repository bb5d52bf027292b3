/// Recognises partition tables in the first bytes of a disk.
enum PartitionTables {
  /// How much of the disk is looked at: sector 0, and sector 1 of sectors of 512 or 4096 bytes.
  static let bytes = 4096 + 512

  static func recognise(_ start: [UInt8]) -> ImageReport.PartitionTable {
    let header = Array("EFI PART".utf8)
    if start.dropFirst(512).starts(with: header) || start.dropFirst(4096).starts(with: header) { return .gpt }
    guard start.count >= 512, start[510] == 0x55, start[511] == 0xAA else { return .none }
    // A FAT file system has the same signature. A table has only entries that are active or not, and at least one in use.
    let entries = (0..<4).map { Array(start[446 + 16 * $0..<462 + 16 * $0]) }
    guard entries.allSatisfy({ $0[0] & 0x7F == 0 }), entries.contains(where: { $0[4] != 0 }) else { return .none }
    return .mbr
  }
}
