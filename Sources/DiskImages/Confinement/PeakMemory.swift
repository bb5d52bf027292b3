import Glibc

/// Reads how much memory the process had resident at most, also when it can open nothing any more.
package struct PeakMemory {
  private let status: Int32

  /// To be made before the process is confined.
  package init() { status = open("/proc/self/status", O_RDONLY | O_CLOEXEC) }

  /// In bytes; 0 where the kernel does not say.
  package var bytes: UInt64 {
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = pread(status, &buffer, buffer.count, 0)
    guard count > 0 else { return 0 }
    let lines = buffer[..<count].split(separator: UInt8(ascii: "\n"))
    guard let line = lines.first(where: { $0.starts(with: "VmHWM:".utf8) }) else { return 0 }
    let digits = line.filter { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
    return (UInt64(String(decoding: digits, as: UTF8.self)) ?? 0) << 10
  }
}
