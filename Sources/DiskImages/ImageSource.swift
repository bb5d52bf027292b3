/// Bytes of an image, wherever they are. Reading may block.
public protocol ImageSource {
  /// How many bytes there are.
  var size: UInt64 { get }

  /// The bytes from `offset`: `count` of them, or fewer where the image ends before.
  ///
  /// Throws ``ImageRefusal/Code/unreadable`` when they cannot be read.
  func read(at offset: UInt64, count: Int) throws(ImageRefusal) -> [UInt8]
}

/// An image in memory.
public struct MemoryImageSource: ImageSource, Sendable {
  private let bytes: [UInt8]

  /// Takes the whole image.
  public init(_ bytes: [UInt8]) { self.bytes = bytes }

  public var size: UInt64 { UInt64(bytes.count) }

  public func read(at offset: UInt64, count: Int) throws(ImageRefusal) -> [UInt8] {
    guard offset < size, count > 0 else { return [] }
    let start = Int(offset)
    return Array(bytes[start..<start + min(count, bytes.count - start)])
  }
}

/// Big-endian numbers, which is what every format here but the partition tables uses.
extension [UInt8] {
  /// The number in `width` bytes (at most 8) at `offset`. The caller has made sure that they are there.
  func bigEndian(_ offset: Int, _ width: Int) -> UInt64 {
    var value: UInt64 = 0
    for index in offset..<offset + width { value = value << 8 | UInt64(self[index]) }
    return value
  }

  /// ``bigEndian(_:_:)`` of 8 bytes, for long tables.
  func bigEndian64(_ offset: Int) -> UInt64 {
    withUnsafeBytes { bytes in
      UInt64(bigEndian: UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + 8]).loadUnaligned(as: UInt64.self))
    }
  }
}
