import Execution
import Glibc

/// The agent's directory, held by one process at a time.
public final class DataDirectory: Sendable {
  public let path: String
  private let descriptor: Int32

  private init(path: String, descriptor: Int32) {
    self.path = path
    self.descriptor = descriptor
  }

  /// Makes the directory if it is not there and takes it. Throws `storage` when another agent has it, and keeps it.
  ///
  /// - Parameter tries: how often it is looked, each tenth of a second, whether whoever has it ends: a process that was killed has its
  ///   files open until its last thread has come back from the disk, though its number is free before.
  public static func take(_ path: String, tries: Int = 100) async throws(AgentFailure) -> DataDirectory {
    let descriptor = try await DedicatedThread(name: "data").run { () throws(AgentFailure) -> Int32 in
      var parent = ""
      for part in path.split(separator: "/") {
        parent += "/\(part)"
        if !FileSystem.exists(parent) { try FileSystem.makeFolder(parent, mode: 0o711) }
      }
      let lock = path + "/lock"
      let descriptor = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
      guard descriptor >= 0 else { throw FileSystem.failure("opening", lock) }
      return descriptor
    }
    for attempt in 1...max(1, tries) {
      if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return DataDirectory(path: path, descriptor: descriptor) }
      if attempt < tries { try? await Task.sleep(for: .milliseconds(100)) }
    }
    close(descriptor)
    throw AgentFailure(.storage, "\(path) is in use by another aloft-agent")
  }

  deinit { close(descriptor) }
}
