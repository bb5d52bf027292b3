import AloftModel
import Execution
import Glibc

// A serial log is bounded by giving the blocks of its old part back to the file system. The file keeps its size, so an
// offset names the same byte for ever, and QEMU, which appends, is not disturbed.

extension DirectoryStorage {
  public func boundSerialLogs() async throws(AgentFailure) {
    let (root, keep) = (root, options.serialLogBytes)
    try await thread.run { () throws(AgentFailure) in
      for name in FileSystem.names(in: "\(root)/vms") {
        guard let vm = VMID(name) else { continue }
        let path = paths(of: vm).serialLog
        guard FileSystem.exists(path) else { continue }
        try FileSystem.withFile(path, O_RDWR) { file throws(AgentFailure) in
          try SerialLogFile.bound(file, path, keeping: keep)
        }
      }
    }
  }

  public func serialLog(of vm: VMID) async throws(AgentFailure) -> any SerialLogReader {
    SerialLogFile(path: paths(of: vm).serialLog, thread: thread)
  }
}

struct SerialLogFile: SerialLogReader {
  let path: String
  let thread: DedicatedThread

  private static let block = 4096
  /// `lseek`'s SEEK_DATA.
  private static let seekData: Int32 = 3

  static func bound(_ file: Int32, _ path: String, keeping keep: Int) throws(AgentFailure) {
    let size = lseek(file, 0, SEEK_END)
    let end = (size - keep) / block * block
    guard end > 0, lseek(file, 0, seekData) < end else { return }
    try FileSystem.allocate(.punchHole, file, path, from: 0, bytes: end)
  }

  func bounds() async throws(AgentFailure) -> Range<Int> {
    let path = path
    return try await thread.run { () throws(AgentFailure) in
      // A guest that never started has no log yet.
      guard FileSystem.exists(path) else { return 0..<0 }
      return try FileSystem.withFile(path, O_RDONLY) { file in
        let size = lseek(file, 0, SEEK_END)
        let data = lseek(file, 0, Self.seekData)
        return (data < 0 ? size : min(data, size))..<size
      }
    }
  }

  func read(from offset: Int, count: Int) async throws(AgentFailure) -> [UInt8] {
    let path = path
    return try await thread.run { () throws(AgentFailure) in
      guard FileSystem.exists(path) else { return [] }
      return try FileSystem.withFile(path, O_RDONLY) { file throws(AgentFailure) in
        try FileSystem.read(file, path, from: offset, count: count)
      }
    }
  }
}
