import AloftModel

@testable import NodeAgent

/// What a control plane in memory keeps of backups.
struct BackupShelf {
  var chunks: [BackupManifest.Chunk: [UInt8]] = [:]
  var manifests: [BackupID: [UInt8]] = [:]
}

extension MemoryControlPlane {
  func tell(_ report: ExportReport, of backup: BackupID) async throws(AgentFailure) {}

  func missing(_ chunks: ChunkList, of backup: BackupID) async throws(AgentFailure) -> ChunkList {
    let known = state.withLock { Set($0.shelf.chunks.keys.filter { $0.owner == backup }.map(\.hash.description)) }
    return ChunkList(chunks: chunks.chunks.filter { !known.contains($0) })
  }

  func send(_ bytes: [UInt8], asChunk hash: ChunkHash, of backup: BackupID) async throws(AgentFailure) {
    state.withLock { $0.shelf.chunks[.init(owner: backup, hash: hash)] = bytes }
  }

  func send(_ manifest: [UInt8], asManifestOf backup: BackupID) async throws(AgentFailure) {
    state.withLock { $0.shelf.manifests[backup] = manifest }
  }

  func manifest(of backup: BackupID) async throws(AgentFailure) -> [UInt8] {
    guard let text = state.withLock({ $0.shelf.manifests[backup] }) else {
      throw AgentFailure(.backupDamaged, "there is no manifest of \(backup)")
    }
    return text
  }

  func chunk(
    _ chunk: BackupManifest.Chunk, of backup: BackupID, size: Int
  ) async throws(AgentFailure) -> [UInt8] {
    guard let bytes = state.withLock({ $0.shelf.chunks[chunk] }) else {
      throw AgentFailure(.backupDamaged, "there is no chunk \(chunk.hash)")
    }
    return bytes
  }
}
