/// Reads tables of an image, and counts what that costs.
struct TableReader {
  let source: any ImageSource
  /// Bytes that may still be read.
  private(set) var budget: UInt64

  /// How much of a table is in memory at a time.
  static let pieceBytes = 64 << 10

  init(_ source: any ImageSource, budget: UInt64) {
    self.source = source
    self.budget = budget
  }

  /// Exactly `count` bytes at `offset`.
  mutating func bytes(at offset: UInt64, count: Int, of what: String) throws(ImageRefusal) -> [UInt8] {
    guard UInt64(count) <= budget else {
      throw ImageRefusal(
        .tooMuchMetadata, at: offset,
        "the image has too many tables to be looked at; `qemu-img convert -O qcow2` makes one with fewer")
    }
    budget -= UInt64(count)
    let bytes = try source.read(at: offset, count: count)
    guard bytes.count == count else {
      throw ImageRefusal(.truncated, at: offset, "the file ends inside of \(what); upload the whole image")
    }
    return bytes
  }

  /// Calls `body` with each piece of a table and the index of the piece's first byte.
  mutating func pieces(
    at offset: UInt64, count: UInt64, of what: String,
    _ body: (UInt64, [UInt8]) throws(ImageRefusal) -> Void
  ) throws(ImageRefusal) {
    var done: UInt64 = 0
    while done < count {
      let length = min(UInt64(Self.pieceBytes), count - done)
      try body(done, try bytes(at: offset + done, count: Int(length), of: what))
      done += length
    }
  }
}
