/// What matters of a qcow2 file's header (QEMU, docs/interop/qcow2.txt).
struct QCOW2Header {
  /// Enough for the header and the extensions that QEMU writes behind it.
  static let length = 4096

  /// Where in the file the backing file's name is.
  var backingFile: (offset: Int, length: Int)?
  /// The format of the backing file, if it is said.
  var backingFormat: String?
  /// The guest's data is in yet another file.
  var hasDataFile: Bool
  /// The guest's data is encrypted.
  var isEncrypted: Bool
  /// The size that a guest sees.
  var sizeBytes: Int
  /// The first table by which the guest's clusters are found (L1); all of it is zero as long as there are none.
  var clusterTable: (offset: Int, length: Int)

  private static let backingFormatExtension = 0xe279_2aca

  /// Nil unless it is one of version 2 or 3.
  init?(_ bytes: [UInt8]) {
    guard bytes.count >= 72, Array(bytes.prefix(4)) == [0x51, 0x46, 0x49, 0xfb] else { return nil }
    func number(at offset: Int, bytes width: Int) -> Int {
      bytes[offset..<offset + width].reduce(0) { $0 << 8 | Int($1) }
    }
    let version = number(at: 4, bytes: 4)
    guard version == 2 || (version == 3 && bytes.count >= 104) else { return nil }
    // The sign bit cannot be set in a file that exists.
    guard bytes[8] < 0x80, bytes[24] < 0x80, bytes[40] < 0x80 else { return nil }
    let offset = number(at: 8, bytes: 8)
    backingFile = offset == 0 ? nil : (offset, number(at: 16, bytes: 4))
    sizeBytes = number(at: 24, bytes: 8)
    clusterTable = (number(at: 40, bytes: 8), number(at: 36, bytes: 4) * 8)
    isEncrypted = number(at: 32, bytes: 4) != 0
    hasDataFile = version == 3 && bytes[79] & 4 != 0
    var position = version == 3 ? number(at: 100, bytes: 4) : 72
    while position + 8 <= bytes.count {
      let kind = number(at: position, bytes: 4)
      let length = number(at: position + 4, bytes: 4)
      guard kind != 0, position + 8 + length <= bytes.count else { break }
      if kind == Self.backingFormatExtension {
        backingFormat = String(decoding: bytes[position + 8..<position + 8 + length], as: UTF8.self)
      }
      position += 8 + (length + 7) / 8 * 8
    }
  }
}
