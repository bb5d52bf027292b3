import Glibc

extension FileSystem {
  /// What `fallocate` does; the file keeps its size in both. The values are the kernel's FALLOC_FL_ flags.
  enum Allocation: Int32 {
    /// Blocks are taken for what will be written.
    case reserve = 1
    /// Blocks are given back; what was in them reads as zeros.
    case punchHole = 3
  }

  private typealias Fallocate = @convention(c) (Int32, Int32, off_t, off_t) -> Int32

  /// Swift's Glibc module leaves `fallocate` out, because it is a GNU extension.
  private static let fallocate = dlsym(nil, "fallocate").map { unsafeBitCast($0, to: Fallocate.self) }

  /// Throws `storage` when the file system cannot do it.
  static func allocate(
    _ what: Allocation, _ file: Int32, _ path: String, from offset: Int, bytes: Int
  ) throws(AgentFailure) {
    guard let fallocate else { return }
    while fallocate(file, what.rawValue, offset, bytes) != 0 {
      if errno != EINTR { throw failure("allocating", path) }
    }
  }
}
