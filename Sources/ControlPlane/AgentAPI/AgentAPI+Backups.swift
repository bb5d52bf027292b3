import AloftModel
import Foundation
import HTTP
import HTTPTypes
import ObjectStorage
import Postgres

/// What agents send and read of backups; see ``BackupManifest``.
extension AgentAPI {
  private static let chunkTime = Duration.seconds(300)

  func backup(_ segments: [String], _ node: NodeID, _ request: Request) async throws -> Reply {
    guard let id = BackupID(segments[1]) else { throw notFound }
    switch (request.method, segments[2], segments.count) {
    case (.get, "manifest", 3):
      let backup = try await read(id, node)
      return Reply(
        contentType: "application/octet-stream", body: .bytes(try await contents(of: backup).manifest(of: backup).text))
    case (.get, "chunks", 5): return try await chunk(segments[3], segments[4], of: try await read(id, node))
    case (.put, "chunks", 4): return try await take(request, as: segments[3], of: try await wanted(id, node))
    case (.put, "manifest", 3):
      let backup = try await wanted(id, node)
      return try await finish(backup, try await body(request, BackupManifest.mostText))
    default: throw notFound
    }
  }

  func contents(of backup: BackupRecord) -> BackupContents {
    BackupContents(store: plane.images.store, project: backup.project)
  }

  private func wanted(_ id: BackupID, _ node: NodeID) async throws -> BackupRecord {
    let found = try await plane.database.run { session in try BackupStore.find(id, madeOn: node, in: session) }
    guard let found else {
      refused("backup", id.description, node)
      throw Problem(.notFound, "backup \(id) is not wanted from this node, or not any more")
    }
    return found
  }

  private func read(_ id: BackupID, _ node: NodeID) async throws -> BackupRecord {
    let found = try await plane.database.run { session in try BackupStore.find(id, readOn: node, in: session) }
    guard let found else {
      refused("backup", id.description, node)
      throw Problem(.notFound, "no volume of this node needs backup \(id)")
    }
    return found
  }

  private func body(_ request: Request, _ most: Int) async throws -> [UInt8] {
    do { return try await request.body.collect(upTo: most, within: Self.chunkTime) } catch { throw Problem.of(error) }
  }

  /// A chunk of a backup, which that one or an earlier one of the same volume has sent.
  private func chunk(_ owner: String, _ name: String, of backup: BackupRecord) async throws -> Reply {
    guard let owner = BackupID(owner), let hash = ChunkHash(hexadecimal: Array(name.utf8)) else { throw notFound }
    let isOwn = try await plane.database.run { session in
      try session.one(
        """
        SELECT 1 FROM backups WHERE id = \(owner) AND volume_id = \(backup.volume) AND project_id = \(backup.project)
        """) != nil
    }
    guard isOwn else { throw Problem(.backupDamaged, "there is no backup \(owner) that has sent chunk \(hash)") }
    let bytes = try await contents(of: backup).chunk(.init(owner: owner, hash: hash), at: backup.mostChunkBytes)
    return Reply(contentType: "application/octet-stream", body: .bytes(bytes))
  }

  // MARK: Making

  func missing(_ list: ChunkList, of text: String, node: NodeID) async throws -> Reply {
    guard let id = BackupID(text) else { throw notFound }
    _ = try await wanted(id, node)
    let hashes = list.chunks.compactMap { ChunkHash(hexadecimal: Array($0.utf8)) }
    guard hashes.count == list.chunks.count, hashes.count <= ChunkList.most else {
      throw Problem(.badFormat, "up to \(ChunkList.most) SHA-256 in hexadecimal must come")
    }
    let stored = try await plane.database.run { session in
      try session.query(
        """
        SELECT encode(sha256, 'hex') FROM backup_chunks
         WHERE backup_id = \(id) AND stored AND encode(sha256, 'hex') = ANY(\(hashes.map(\.description)))
        """
      ).map { try $0.get(0, as: String.self) }
    }
    let known = Set(stored)
    return try .encoded(ChunkList(chunks: list.chunks.filter { !known.contains($0) }))
  }

  private func take(_ request: Request, as name: String, of backup: BackupRecord) async throws -> Reply {
    guard let hash = ChunkHash(hexadecimal: Array(name.utf8)) else { throw notFound }
    let bytes = try await body(request, backup.mostChunkBytes)
    if bytes.isEmpty { throw Problem(.badFormat, "a chunk has bytes") }
    let (id, count) = (backup.id, bytes.count)
    // Before the object: whoever clears away finds it.
    let isStored = try await plane.database.transaction { session -> Bool in
      let row = try session.one(
        """
        WITH living AS (SELECT 1 FROM backups WHERE id = \(id) AND state = 'creating' AND deleted_at IS NULL FOR KEY SHARE)
        INSERT INTO backup_chunks (backup_id, sha256, bytes) SELECT \(id), \(hash.bytes), \(count)::integer FROM living
        ON CONFLICT (backup_id, sha256) DO UPDATE SET bytes = backup_chunks.bytes RETURNING stored
        """)
      guard let row else { throw Problem(.notFound, "backup \(id) is not wanted any more") }
      return try row.get(0)
    }
    if isStored { return .noContent }
    let contents = contents(of: backup)
    do { try await contents.put(bytes, as: hash, of: id) } catch ObjectStoreError.checksumMismatch {
      throw Problem(.checksumMismatch, "chunk \(hash) has another SHA-256 than its name; send it again")
    }
    do { try await keep(hash, of: backup) } catch {
      // It may have been cleared away just before the object came. Then nobody makes a row of it any more.
      let isKnown = try await plane.database.run { session in
        try session.one(
          """
          SELECT 1 WHERE EXISTS (SELECT 1 FROM backup_chunks WHERE backup_id = \(id) AND sha256 = \(hash.bytes))
                      OR EXISTS (SELECT 1 FROM backups WHERE id = \(id) AND state = 'creating' AND deleted_at IS NULL)
          """) != nil
      }
      if !isKnown { try await contents.remove(hash, of: id) }
      throw error
    }
    return .noContent
  }

  private func keep(_ hash: ChunkHash, of backup: BackupRecord) async throws {
    let id = backup.id
    do {
      try await plane.database.transaction { session in
        let living = try session.one(
          "SELECT 1 FROM backups WHERE id = \(id) AND state = 'creating' AND deleted_at IS NULL FOR NO KEY UPDATE")
        if living == nil { throw Problem(.notFound, "backup \(id) is not wanted any more") }
        let row = try session.one(
          """
          UPDATE backup_chunks SET stored = true WHERE backup_id = \(id) AND sha256 = \(hash.bytes) AND NOT stored
          RETURNING bytes
          """)
        guard let more = try row?.get(0, as: Int.self) else { return }
        try session.execute("UPDATE backups SET stored_bytes = stored_bytes + \(more)::bigint WHERE id = \(id)")
      }
    } catch {
      let problem = Problem.of(error)
      if problem.code == .quotaExceeded { try await fail(backup, .quotaExceeded, problem.detail) }
      throw problem
    }
  }

  /// Makes the backup, if everything that the manifest names is there and may be named.
  private func finish(_ backup: BackupRecord, _ text: [UInt8]) async throws -> Reply {
    guard let manifest = await BackupContents.parsed(text), manifest.sizeBytes == backup.sizeGiB << 30,
      manifest.chunkBytes == backup.chunkBytes, manifest.sealing == (backup.isEncrypted ? backup.volume : nil)
    else { throw Problem(.badFormat, "the manifest makes no sense, or is not of this backup") }
    let (id, contents) = (backup.id, contents(of: backup))
    let own = try await plane.database.run { session in
      try session.query("SELECT sha256 FROM backup_chunks WHERE backup_id = \(id) AND stored").compactMap {
        ChunkHash(try $0.get(0, as: [UInt8].self))
      }
    }
    var allowed = Set(own.map { BackupManifest.Chunk(owner: id, hash: $0) })
    if let earlier = backup.earlier {
      let record = try await plane.database.run { session in try BackupStore.find(earlier, in: session) }
      if let record, let known = try? await contents.manifest(of: record).manifest { allowed.formUnion(known.named) }
    }
    let foreign = manifest.named.subtracting(allowed)
    guard foreign.isEmpty else {
      throw Problem(
        .badFormat, "the manifest names \(foreign.count) chunks that the backup does not have; send them first")
    }
    let sha256 = try await contents.put(manifest: text, of: id)
    let effects = try await plane.database.transaction { session -> Effects in
      var effects = Effects()
      let made = BackupStore.Made(manifest: manifest, sha256: sha256)
      guard try BackupStore.end(backup, made: made, in: session, &effects) else {
        throw Problem(.notFound, "backup \(id) is not wanted any more")
      }
      return effects
    }
    plane.wakeups.signal(effects.wake)
    return .noContent
  }

  private func fail(_ backup: BackupRecord, _ failure: OperationFailure, _ detail: String) async throws {
    let effects = try await plane.database.transaction { session -> Effects in
      var effects = Effects()
      try BackupStore.end(backup, failure: (failure, detail), in: session, &effects)
      return effects
    }
    plane.wakeups.signal(effects.wake)
  }

  /// How far a node is, or what keeps it from going on.
  func take(_ report: ExportReport, ofBackup text: String, node: NodeID) async throws -> Reply {
    guard let id = BackupID(text) else { throw notFound }
    let backup = try await wanted(id, node)
    guard let problem = report.problem else {
      try await show(backup, AgentText.shortened(report.activity), done: report.bytesDone, of: report.bytesTotal)
      return .noContent
    }
    let detail = AgentText.shortened(problem.detail)
    let failures = try await plane.database.run { session in try BackupStore.count(id, failed: true, in: session) }
    // What is damaged does not mend itself.
    if problem.code == .volumeDamaged || failures >= BackupStore.mostFailures {
      try await fail(backup, problem.code, detail)
    } else {
      try await show(backup, "another attempt: \(detail)", done: nil, of: nil)
    }
    return .noContent
  }

  private func show(_ backup: BackupRecord, _ words: String, done: Int?, of total: Int?) async throws {
    guard let operation = backup.operation?.id else { return }
    let isWanted = try await plane.database.run { session in
      if done != nil { _ = try BackupStore.count(backup.id, failed: false, in: session) }
      return try ImageCaptureStore.show(operation, words, done: done, of: total, in: session)
    }
    guard isWanted else { throw Problem(.notFound, "backup \(backup.id) is not wanted any more") }
  }
}
