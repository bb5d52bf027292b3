import Glibc

/// An image in an open file. Its calls block.
package struct DescriptorImageSource: ImageSource {
  private let descriptor: Int32
  package let size: UInt64

  /// Measures the file; the descriptor stays the caller's.
  package init(_ descriptor: Int32) throws(ImageRefusal) {
    let size = lseek(descriptor, 0, SEEK_END)
    guard size >= 0 else { throw ImageRefusal(.unreadable, "the file cannot be measured (errno \(errno)); try again") }
    self.descriptor = descriptor
    self.size = UInt64(size)
  }

  package func read(at offset: UInt64, count: Int) throws(ImageRefusal) -> [UInt8] {
    guard offset < size else { return [] }
    var failure: Int32 = 0
    let wanted = min(UInt64(count), size - offset)
    let bytes = [UInt8](unsafeUninitializedCapacity: Int(wanted)) { buffer, filled in
      while filled < buffer.count {
        let got = pread(
          descriptor, buffer.baseAddress.map { $0 + filled }, buffer.count - filled, off_t(offset) + off_t(filled))
        if got < 0 && errno == EINTR { continue }
        if got < 0 { failure = errno }
        if got <= 0 { return }
        filled += got
      }
    }
    guard failure == 0 else {
      throw ImageRefusal(.unreadable, at: offset, "the file cannot be read (errno \(failure)); try again")
    }
    return bytes
  }
}
