import AloftModel
import Crypto
import Execution
import Foundation
import ObjectStorage

/// What is in the image store of backups: `backups/<project>/<backup>/manifest-<sha256>`, and beside it, by their SHA-256, the chunks that the
/// backup has sent.
///
/// An object is written by one backup only, and never changed: what is removed of one is nobody else's.
struct BackupContents: Sendable {
  static let prefix = "backups/"

  /// A retry may write another one: the row says which counts.
  private static let manifest = "manifest-"

  let store: any ObjectStore
  let project: ProjectID

  private func key(_ backup: BackupID, _ name: String) throws -> ObjectKey {
    try ObjectKey(
      "\(Self.prefix)\(project.uuid.uuidString.lowercased())/\(backup.uuid.uuidString.lowercased())/\(name)")
  }

  func put(_ bytes: [UInt8], as chunk: ChunkHash, of backup: BackupID) async throws {
    try await put(bytes, try key(backup, chunk.description), chunk.description)
  }

  /// Returns its SHA-256.
  func put(manifest bytes: [UInt8], of backup: BackupID) async throws -> String {
    let digest = await Self.digest(bytes)
    try await put(bytes, try key(backup, Self.manifest + digest), digest)
    return digest
  }

  private func put(_ bytes: [UInt8], _ key: ObjectKey, _ sha256: String) async throws {
    try await ImageContents.telling {
      let upload = try await store.beginUpload(key, size: Int64(bytes.count))
      do {
        try await upload.append(bytes, at: 0)
        _ = try await upload.finish(size: Int64(bytes.count), sha256: sha256)
      } catch {
        try? await upload.abort()
        throw error
      }
    }
  }

  /// The bytes of a chunk as the store has them; throws `backup_damaged` when it has none.
  func chunk(_ chunk: BackupManifest.Chunk, at most: Int) async throws -> [UInt8] {
    try await bytes(try key(chunk.owner, chunk.hash.description), at: most)
  }

  /// Whether a chunk is there and what its name says.
  func isWhole(_ chunk: BackupManifest.Chunk, bytes: Int) async throws -> Bool {
    do {
      let found = try await self.chunk(chunk, at: bytes)
      guard found.count == bytes else { return false }
      return await Self.digest(found) == chunk.hash.description
    } catch let problem as Problem where problem.code == .backupDamaged {
      return false
    }
  }

  /// The manifest of a backup, as it was written. Throws `backup_damaged` otherwise.
  func manifest(of backup: BackupRecord) async throws -> (text: [UInt8], manifest: BackupManifest) {
    guard let expected = backup.manifestSHA256 else { throw Problem(.wrongState, "backup \(backup.name) is not made") }
    let text = try await bytes(try key(backup.id, Self.manifest + expected), at: BackupManifest.mostText)
    guard await Self.digest(text) == expected, let manifest = await Self.parsed(text) else {
      throw Problem(.backupDamaged, "the manifest of backup \(backup.name) is not what it was")
    }
    return (text, manifest)
  }

  private func bytes(_ key: ObjectKey, at most: Int) async throws -> [UInt8] {
    try await ImageContents.telling {
      let content: ObjectContent
      do { content = try await store.read(key) } catch ObjectStoreError.notFound {
        throw Problem(.backupDamaged, "the image store has no object \(key)")
      }
      guard content.info.size <= Int64(most) else {
        throw Problem(.backupDamaged, "object \(key) of the image store is larger than it can be")
      }
      var bytes: [UInt8] = []
      bytes.reserveCapacity(Int(content.info.size))
      for try await piece in content { bytes += piece }
      return bytes
    }
  }

  func remove(_ chunk: ChunkHash, of backup: BackupID) async throws {
    let key = try key(backup, chunk.description)
    try await ImageContents.telling { try await store.delete(key) }
  }

  /// Removes what was written as a manifest of a backup, whether it has become it or not.
  func removeManifests(of backup: BackupID) async throws {
    let prefix = try key(backup, Self.manifest + "x").text.dropLast()
    try await ImageContents.telling {
      for object in try await store.list(prefix: String(prefix)).objects { try await store.delete(object.key) }
    }
  }

  /// Reads a manifest, off the loops.
  static func parsed(_ text: [UInt8]) async -> BackupManifest? {
    await DedicatedThread(name: "backup").run { BackupManifest(text: text) }
  }

  private static func digest(_ bytes: [UInt8]) async -> String {
    await DedicatedThread(name: "backup").run {
      ChunkHash(Array(SHA256.hash(data: bytes)))?.description ?? ""
    }
  }
}
