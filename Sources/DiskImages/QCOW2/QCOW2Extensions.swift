/// The header extensions: sections between the header and the end of the first cluster.
enum QCOW2Extensions {
  private static let end: UInt64 = 0
  private static let featureNames: UInt64 = 0x6803_F857
  private static let backingFormat: UInt64 = 0xE279_2ACA
  private static let dataFile: UInt64 = 0x4441_5441
  private static let bitmaps: UInt64 = 0x2385_2875
  private static let encryption: UInt64 = 0x0537_BE77

  /// Refuses all that is more than the names of features. The list ends with the cluster where nothing else ends it.
  static func check(_ reader: inout TableReader, _ header: QCOW2Header) throws(ImageRefusal) {
    var offset = UInt64(header.length)
    // A file shorter than its first cluster has no room for tables, and was refused.
    let limit = min(header.clusterSize, reader.source.size)
    var hasNames = false
    while offset + 8 <= limit {
      let head = try reader.bytes(at: offset, count: 8, of: "the header extensions")
      let (type, length) = (head.bigEndian(0, 4), head.bigEndian(4, 4))
      if type == end { return }
      try refuse(type, at: offset)
      guard !hasNames else {
        throw ImageRefusal(.headerExtension, at: offset, "the table of feature names is there twice")
      }
      hasNames = true
      // Both are below 2^33.
      let next = offset + 8 + (length + 7) / 8 * 8
      guard length % 48 == 0, next <= limit else {
        throw ImageRefusal(
          .headerExtension, at: offset, "the table of feature names has an impossible length of \(length)")
      }
      offset = next
    }
  }

  private static func refuse(_ type: UInt64, at offset: UInt64) throws(ImageRefusal) {
    switch type {
    case featureNames: return
    case backingFormat:
      throw ImageRefusal(
        .backingFile, at: offset,
        "the image names the format of a backing file; `qemu-img convert -O qcow2` makes one that needs no other file")
    case dataFile:
      throw ImageRefusal(
        .dataFile, at: offset,
        "the image names another file for its data; `qemu-img convert -O qcow2` brings it into one")
    case bitmaps:
      throw ImageRefusal(
        .bitmaps, at: offset,
        "the image has persistent bitmaps; remove them with `qemu-img bitmap --remove` or convert the image")
    case encryption:
      throw ImageRefusal(
        .encrypted, at: offset, "the image has an encryption header; convert it to one that is not encrypted")
    default:
      throw ImageRefusal(
        .headerExtension, at: offset,
        "header extension \(String(type, radix: 16)) is not known; `qemu-img convert -O qcow2` leaves it out")
    }
  }
}
