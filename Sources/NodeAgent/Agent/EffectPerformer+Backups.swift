import AloftModel
import Crypto

extension EffectPerformer {
  /// How many bytes of chunks are held at a time, and how many chunks travel at a time.
  private static let batchBytes = 16 << 20
  private static let parallelChunks = 4
  /// Milliseconds between two tellings of how far it is.
  private static let telling = 1_000

  // MARK: Making

  /// Reads what a snapshot holds, and sends what the control plane does not have.
  func backUp(
    _ backup: VolumeAssignment.Backup, of volume: VolumeID, in pool: String, key: VolumeKey?
  ) async -> AgentFailure? {
    let link = link
    do throws(AgentFailure) {
      var backup = backup
      // Who has just started has been told no key yet.
      if let key { try await self.pool(pool).unlock(volume, with: key) }
      let earlier = try await earlierManifest(of: backup, sealing: key == nil ? nil : volume)
      // What changed says nothing without what was there.
      if earlier == nil { backup.base = nil }
      let wanted = backup
      try await self.pool(pool).read(wanted, of: volume) { source throws(AgentFailure) in
        try await send(source, as: wanted, over: earlier)
      }
      logger.info("backup made", metadata: ["backup": "\(backup.backup)", "volume": "\(volume)"])
      return nil
    } catch {
      logger.warning(
        "backup not made", metadata: ["backup": "\(backup.backup)", "volume": "\(volume)", "failure": "\(error)"])
      if let problem = error.problem {
        // Who cannot be told now is told with the next attempt.
        _ = await attempt { () async throws(AgentFailure) in
          try await link.tell(ExportReport(activity: "making the backup failed", problem: problem), of: backup.backup)
        }
      }
      return error
    }
  }

  /// Nil: there is none that can be used, and everything is sent anew.
  private func earlierManifest(
    of backup: VolumeAssignment.Backup, sealing: VolumeID?
  ) async throws(AgentFailure) -> BackupManifest? {
    guard let earlier = backup.earlier else { return nil }
    do throws(AgentFailure) {
      let manifest = BackupManifest(text: try await link.manifest(of: earlier))
      return manifest?.chunkBytes == backup.chunkBytes && manifest?.sealing == sealing ? manifest : nil
    } catch {
      guard error.kind == .backupDamaged else { throw error }
      return nil
    }
  }

  private func send(
    _ source: any BackupSource, as backup: VolumeAssignment.Backup, over earlier: BackupManifest?
  ) async throws(AgentFailure) {
    let changed = try await source.changed()
    var manifest = BackupManifest(
      sizeBytes: source.sizeBytes, chunkBytes: backup.chunkBytes, reading: source.reading, sealing: source.sealing)
    if source.reading == .incremental {
      manifest.chunks = (earlier?.chunks ?? [:]).filter { $0.key < manifest.count }
    }
    var known: [ChunkHash: BackupManifest.Chunk] = [:]
    for chunk in earlier?.chunks.values.map({ $0 }) ?? [] { known[chunk.hash] = chunk }
    let total = changed.reduce(0) { $0 + manifest.bytes(at: $1) }
    var done = 0
    var toldAt: Int?
    var batch: [ChunkHash: [UInt8]] = [:]
    for index in changed {
      let chunk = try await source.chunk(index)
      manifest.readBytes += chunk.bytes.isEmpty ? 0 : manifest.bytes(at: index)
      done += manifest.bytes(at: index)
      if let hash = chunk.hash {
        let place = known[hash] ?? BackupManifest.Chunk(owner: backup.backup, hash: hash)
        manifest.chunks[index] = place
        if known.updateValue(place, forKey: hash) == nil { batch[hash] = chunk.bytes }
      } else {
        manifest.chunks[index] = nil
      }
      if batch.count * backup.chunkBytes >= Self.batchBytes {
        try await send(batch, of: backup.backup)
        batch = [:]
      }
      let now = clock.now().uptime
      if toldAt.map({ now - $0 >= Self.telling }) ?? true {
        toldAt = now
        try await link.tell(
          ExportReport(activity: "sending the backup", bytesDone: done, bytesTotal: total),
          of: backup.backup)
      }
    }
    try await send(batch, of: backup.backup)
    try await link.send(manifest.text, asManifestOf: backup.backup)
  }

  /// Sends those chunks that an attempt before has not sent.
  private func send(_ batch: [ChunkHash: [UInt8]], of backup: BackupID) async throws(AgentFailure) {
    if batch.isEmpty { return }
    let hashes = batch.keys.sorted()
    let missing = try await link.missing(ChunkList(chunks: hashes.map(\.description)), of: backup)
    let wanted = Set(missing.chunks)
    let link = link
    try await inParallel(hashes.filter { wanted.contains($0.description) }) { hash throws(AgentFailure) in
      try await link.send(batch[hash] ?? [], asChunk: hash, of: backup)
    }
  }

  /// Does the same with each, some at a time. The first failure ends it.
  private func inParallel<Item: Sendable>(
    _ items: [Item], _ body: @escaping @Sendable (Item) async throws(AgentFailure) -> Void
  ) async throws(AgentFailure) {
    for start in stride(from: 0, to: items.count, by: Self.parallelChunks) {
      let part = items[start..<min(start + Self.parallelChunks, items.count)]
      let failures = await withTaskGroup(of: AgentFailure?.self) { group in
        for item in part {
          group.addTask { await attempt { () async throws(AgentFailure) in try await body(item) }.failure }
        }
        return await group.reduce(into: [AgentFailure]()) { if let failure = $1 { $0.append(failure) } }
      }
      if let failure = failures.first { throw failure }
    }
  }

  // MARK: Restoring

  /// Makes a backup's content that of a volume that no guest has open. All of it has come and was compared before the volume has any of
  /// it.
  func restore(
    _ backup: BackupID, to document: VolumeAssignment, epoch: Int, progress: @escaping @Sendable (Int, Int) -> Void
  ) async throws(AgentFailure) {
    if document.isLocked { throw AgentFailure(.volumeLocked, "the key of \(document.volume) is not here") }
    try await refuseOpen(document)
    guard let manifest = BackupManifest(text: try await link.manifest(of: backup)) else {
      throw AgentFailure(.backupDamaged, "the manifest of backup \(backup) is damaged; nothing was changed")
    }
    guard manifest.sizeBytes <= document.sizeBytes else {
      throw AgentFailure(
        .hypervisorRefused,
        "\(document.volume) has \(document.sizeBytes) bytes, but backup \(backup) is of \(manifest.sizeBytes)")
    }
    let seal = try seal(of: manifest, backup, for: document)
    let bytes = manifest.chunks.keys.reduce(0) { $0 + manifest.bytes(at: $1) }
    try await pool(document.pool).restore(
      document.volume, sizeBytes: document.sizeBytes, epoch: epoch, needing: bytes
    ) { target throws(AgentFailure) in
      try await fetch(manifest, of: backup, seal, into: target, progress)
    }
  }

  /// What opens the chunks of a backup; nil if they are not sealed.
  private func seal(
    of manifest: BackupManifest, _ backup: BackupID, for document: VolumeAssignment
  ) throws(AgentFailure) -> ChunkSeal? {
    guard let original = manifest.sealing else { return nil }
    guard document.encrypted == true, let key = document.key else {
      throw AgentFailure(
        .hypervisorRefused, "backup \(backup) is of an encrypted volume, and \(document.volume) is not encrypted")
    }
    return ChunkSeal(key, of: original)
  }

  /// A chunk that has come, and where it belongs.
  private struct Fetched: Sendable {
    var indices: [Int]
    var result: Result<[UInt8], AgentFailure>
  }

  private func fetch(
    _ manifest: BackupManifest, of backup: BackupID, _ seal: ChunkSeal?, into target: any BackupTarget,
    _ progress: @escaping @Sendable (Int, Int) -> Void
  ) async throws(AgentFailure) {
    // Equal chunks travel once.
    var places: [BackupManifest.Chunk: [Int]] = [:]
    for (index, chunk) in manifest.chunks { places[chunk, default: []].append(index) }
    let chunks = places.sorted { ($0.value.min() ?? 0) < ($1.value.min() ?? 0) }
    let total = manifest.chunks.keys.reduce(0) { $0 + manifest.bytes(at: $1) }
    var (done, damagedChunks, damagedBytes) = (0, 0, 0)
    for start in stride(from: 0, to: chunks.count, by: Self.parallelChunks) {
      let part = chunks[start..<min(start + Self.parallelChunks, chunks.count)]
      let results = await withTaskGroup(of: Fetched.self) { group in
        for (chunk, indices) in part {
          group.addTask {
            let size = manifest.storedBytes(at: indices[0])
            let result = await attempt { () async throws(AgentFailure) in
              let kept = try await whole(chunk, size, of: backup)
              return try seal?.open(kept) ?? kept
            }
            return Fetched(indices: indices, result: result)
          }
        }
        return await group.reduce(into: [Fetched]()) { $0.append($1) }
      }
      for fetched in results {
        let indices = fetched.indices
        switch fetched.result {
        case .success(let bytes):
          // What is damaged elsewhere makes all of it worthless; the rest is looked at only to tell how much is.
          if damagedChunks == 0 {
            for index in indices { try await target.write(bytes, at: index * manifest.chunkBytes) }
          }
        case .failure(let failure):
          guard failure.kind == .backupDamaged else { throw failure }
          damagedChunks += indices.count
          damagedBytes += indices.reduce(0) { $0 + manifest.bytes(at: $1) }
        }
        done += indices.reduce(0) { $0 + manifest.bytes(at: $1) }
      }
      progress(done, total)
    }
    guard damagedChunks == 0 else {
      throw AgentFailure(
        .backupDamaged,
        "\(damagedChunks) of \(manifest.chunks.count) parts of backup \(backup), \(damagedBytes) bytes, are missing or damaged; nothing was changed"
      )
    }
  }

  /// A chunk that is what its name says.
  private func whole(
    _ chunk: BackupManifest.Chunk, _ size: Int, of backup: BackupID
  ) async throws(AgentFailure) -> [UInt8] {
    let bytes = try await link.chunk(chunk, of: backup, size: size)
    guard bytes.count == size, ChunkHash(Array(SHA256.hash(data: bytes))) == chunk.hash else {
      throw AgentFailure(.backupDamaged, "chunk \(chunk.hash) of backup \(backup) is not what it was")
    }
    return bytes
  }
}
