import AloftModel
import Logging

/// A pool in a directory that the operator names; one that cannot be used is told of, and keeps nothing else from working.
struct OtherPool: Sendable {
  private let name: String
  private let opened: Result<DirectoryPool, AgentFailure>
  /// Held as long as the pool is: no other agent works there.
  private let directory: DataDirectory?

  var pool: DirectoryPool? { try? opened.get() }

  /// The directory is not made: where something is to be mounted and is not, nothing must be written.
  static func open(_ name: String, _ path: String, logger: Logger) async -> OtherPool {
    do throws(AgentFailure) {
      guard FileSystem.exists(path) else { throw AgentFailure(.storage, "there is no directory \(path)") }
      let directory = try await DataDirectory.take(path)
      let reserve = HostFacts.reservedDiskBytes(CapacitySettings(), total: try FileSystem.space(path).total)
      let pool = try await DirectoryPool.open(name, path, reserve: reserve, logger: logger)
      return OtherPool(name: name, opened: .success(pool), directory: directory)
    } catch {
      logger.error("a storage pool cannot be used", metadata: ["pool": "\(name)", "failure": "\(error)"])
      return OtherPool(name: name, opened: .failure(error), directory: nil)
    }
  }

  func status() async -> NodeStoragePool {
    switch opened {
    case .success(let pool): await pool.status()
    case .failure(let failure):
      NodeStoragePool(
        name: name, kind: .directory, totalBytes: 0, freeBytes: 0, usedBytes: 0, problem: failure.detail)
    }
  }
}
