extension QCOW2Header {
  private static let knownFields = 105

  /// The fields that version 3 has behind those of version 2, and the header extensions of both.
  mutating func readVersion3(_ reader: inout TableReader) throws(ImageRefusal) {
    let bytes = try reader.bytes(at: 72, count: 32, of: "the header")
    try readIncompatible(bytes.bigEndian(0, 8))
    // Unknown compatible features may be ignored by definition.
    hasLazyRefcounts = bytes.bigEndian(8, 8) & 1 != 0
    let autoclear = bytes.bigEndian(16, 8)
    if autoclear & 1 != 0 {
      throw ImageRefusal(
        .bitmaps, at: 88,
        "the image has persistent bitmaps; remove them with `qemu-img bitmap --remove` or convert the image")
    }
    guard autoclear & ~3 == 0 else {
      throw ImageRefusal(
        .unknownFeature, at: 88,
        "unknown autoclear features (\(String(autoclear, radix: 16))); convert it with `qemu-img convert`")
    }
    guard autoclear & 2 == 0 else {
      throw ImageRefusal(
        .dataFile, at: 88, "the image's data is in another file; `qemu-img convert -O qcow2` brings it into one")
    }
    let order = bytes.bigEndian(24, 4)
    guard order <= 6 else {
      throw ImageRefusal(.refcountWidth, at: 96, "reference counts have at most 2^6 bits, these 2^\(order)")
    }
    refcountOrder = Int(order)
    let length = bytes.bigEndian(28, 4)
    guard length >= 104, length % 8 == 0, length <= clusterSize else {
      throw ImageRefusal(
        .headerLength, at: 100, "the header has \(length) bytes; it must be a multiple of 8 from 104 to one cluster")
    }
    self.length = Int(length)
    try readAdditional(&reader, needsType: bytes.bigEndian(0, 8) & 8 != 0)
  }

  private mutating func readIncompatible(_ bits: UInt64) throws(ImageRefusal) {
    if bits & 1 != 0 {
      throw ImageRefusal(
        .dirty, at: 72, "the image was not closed properly; repair it with `qemu-img check -r all` and upload it again")
    }
    if bits & 2 != 0 {
      throw ImageRefusal(.corrupt, at: 72, "the image is marked as corrupt; repair it with `qemu-img check -r all`")
    }
    if bits & 4 != 0 {
      throw ImageRefusal(
        .dataFile, at: 72, "the image's data is in another file; `qemu-img convert -O qcow2` brings it into one")
    }
    guard bits & ~0x1F == 0 else {
      throw ImageRefusal(
        .unknownFeature, at: 72,
        "unknown incompatible features (\(String(bits, radix: 16))); convert it with `qemu-img convert`")
    }
    hasExtendedL2 = bits & 16 != 0
    guard !hasExtendedL2 || clusterBits >= 14 else {
      throw ImageRefusal(.clusterSize, at: 20, "extended L2 entries need clusters of at least 16 KiB")
    }
  }

  /// Fields behind byte 104: the compression type, and padding or fields of the future, which must be zero.
  private mutating func readAdditional(_ reader: inout TableReader, needsType: Bool) throws(ImageRefusal) {
    let bytes = try reader.bytes(at: 104, count: length - 104, of: "the header")
    let type = bytes.first ?? 0
    switch (needsType, type) {
    case (false, 0): compression = .zlib
    case (true, 1): compression = .zstd
    default:
      throw ImageRefusal(
        .compressionType, at: 104,
        "compression type \(type) does not fit the feature bits; convert it with `qemu-img convert`")
    }
    if let place = bytes.indices.dropFirst(Self.knownFields - 104).first(where: { bytes[$0] != 0 }) {
      throw ImageRefusal(
        .headerLength, at: UInt64(104 + place),
        "the header has fields that are not known; convert it with `qemu-img convert`")
    }
  }
}
