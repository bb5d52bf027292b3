import AloftModel
import Foundation

/// What was found in the bytes of an uploaded image.
struct ImageContent: Sendable, Equatable {
  var format: ImageFormat
  var sizeBytes: Int
  var virtualSizeBytes: Int
  /// Lower-case hexadecimal.
  var sha256: String

  /// How many bytes from the beginning ``inspect(head:size:)`` looks at.
  static let headBytes = 512

  /// Recognises the format by content, and refuses what a node must never open: a qcow2 that refers to another file would let a
  /// guest read the host's disk (QEMU docs/interop/qcow2.txt).
  static func inspect(head: [UInt8], size: Int) throws(Problem) -> (format: ImageFormat, virtualSize: Int) {
    guard size >= 512 else {
      throw Problem(.imageInvalid, "\(size) bytes are no disk; send the bytes of a qcow2 or raw image")
    }
    guard head.starts(with: [0x51, 0x46, 0x49, 0xfb]) else { return (.raw, size) }
    guard head.count >= 104 else { throw Problem(.imageInvalid, "the qcow2 header is cut off") }
    let version = number(head, at: 4, bytes: 4)
    guard version == 2 || version == 3 else {
      throw Problem(.imageInvalid, "qcow2 version \(version) is unknown; convert it with qemu-img convert -O qcow2")
    }
    guard number(head, at: 8, bytes: 8) == 0 else {
      throw Problem(.imageInvalid, "it has a backing file; flatten it with qemu-img convert -O qcow2")
    }
    // Incompatible feature bit 2: the data are in an external file.
    if version == 3, number(head, at: 72, bytes: 8) & 4 != 0 {
      throw Problem(.imageInvalid, "its data are in an external file; flatten it with qemu-img convert -O qcow2")
    }
    guard number(head, at: 32, bytes: 4) == 0 else {
      throw Problem(.imageInvalid, "it is encrypted; upload it in the clear")
    }
    let virtualSize = number(head, at: 24, bytes: 8)
    guard virtualSize > 0, virtualSize <= 1 << 46 else {
      throw Problem(.imageInvalid, "its virtual size of \(virtualSize) bytes is out of range; at most 64 TiB")
    }
    return (.qcow2, Int(virtualSize))
  }

  private static func number(_ bytes: [UInt8], at offset: Int, bytes count: Int) -> UInt64 {
    bytes[offset..<offset + count].reduce(0) { $0 << 8 | UInt64($1) }
  }
}
