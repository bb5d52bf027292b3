import AloftModel
import Crypto
import Execution
import Foundation
import SimulatedHypervisor
import TestSupport
import Testing

@testable import NodeAgent

@Suite("Backups of encrypted volumes, as their node makes and restores them", .serialized)
struct EncryptedBackupTests {
  private static let mebibyte = 1 << 20
  private static let pattern = "aloft-pattern-that-is-found"

  let directory: TemporaryDirectory
  let plane = MemoryControlPlane()
  let key: VolumeKey
  let volume = VolumeID.sample(1)

  init() throws {
    directory = try TemporaryDirectory()
    key = try VolumeKey.random()
  }

  // MARK: The node

  /// One life of the agent, which knows no keys at first.
  private struct Node {
    var pool: DirectoryPool
    var performer: EffectPerformer
  }

  private func start() async throws -> Node {
    let storage = try await DirectoryStorage.open(directory.path + "/data", logger: quietLogger)
    let host = SimulatedHost(seed: 1)
    let performer = EffectPerformer(
      hypervisor: SimulatedHypervisor(host), storage: storage, journal: SimulatedJournal(host), link: plane,
      clock: VirtualClock(),
      platform: { () async throws(AgentFailure) in
        DomainPlatform(architecture: "x86_64", accelerator: .kvm, directIO: true)
      },
      nodeReport: { () async throws(AgentFailure) in SimulatedAgent.roomy },
      renewIdentity: { () async throws(AgentFailure) in throw AgentFailure(.unsupported, "simulated") },
      logger: quietLogger)
    return Node(pool: storage.local, performer: performer)
  }

  private func make(_ number: Int, _ key: VolumeKey?, on node: Node) async throws {
    if let key { try await node.pool.unlock(.sample(number), with: key) }
    try await node.pool.create(.sample(number), sizeBytes: 16 << 20, from: nil)
  }

  private func leaf(of number: Int, on node: Node) async throws -> LayerID {
    guard case .whole(let stored) = try await node.pool.look(.sample(number)) else {
      throw AgentFailure(.storage, "not whole")
    }
    #expect(stored.encryption != nil)
    return LayerID(String((stored.source.path.split(separator: "/").last ?? "").dropLast(6)))
  }

  private func write(_ command: String, on node: Node) async throws {
    let leaf = try await leaf(of: 1, on: node)
    try await Tool.run(
      "qemu-io", Tool.secretArguments + ["-c", "write -q \(command)"] + node.pool.opening(leaf, with: key),
      secret: Array(key.text.utf8))
  }

  /// What a guest reads there, in mebibytes.
  private func read(_ number: Int, at place: Int, _ key: VolumeKey, on node: Node) async throws -> [UInt8] {
    let layers = await node.pool.node(of: try await leaf(of: number, on: node))
    let disk = try await NBDDisk.open(node: layers, key: key, in: directory.path, isWritable: false)
    let bytes = try await disk.read(place * Self.mebibyte..<(place + 1) * Self.mebibyte)
    try await disk.close()
    return bytes
  }

  private static func piece(_ value: UInt8) -> [UInt8] { [UInt8](repeating: value, count: mebibyte) }
  private static let text = Array(String(repeating: pattern, count: 40_000).utf8.prefix(mebibyte))

  private func take(_ snapshot: Int, on node: Node) async throws {
    _ = try await node.pool.beginSnapshot(.sample(snapshot), of: volume)
    try await node.pool.finishSnapshot(.sample(snapshot), of: volume, takenAt: 5, quiesced: true)
  }

  // MARK: Backups

  private func backUp(
    _ snapshot: Int, over earlier: (id: BackupID, snapshot: Int)? = nil, on node: Node
  ) async throws -> (id: BackupID, manifest: BackupManifest) {
    let wanted = VolumeAssignment.Backup(
      backup: BackupID(UUID()), snapshot: .sample(snapshot), earlier: earlier?.id,
      base: earlier.map { .sample($0.snapshot) }, chunkBytes: Self.mebibyte)
    let event = await node.performer.perform(.backUp(wanted, volume, pool: "local", key: key)) { _ in }
    guard case .backedUp(wanted.backup, let failure)? = event else {
      throw AgentFailure(.storage, "another event came")
    }
    if let failure { throw failure }
    let text = try await plane.manifest(of: wanted.backup)
    return (wanted.backup, try #require(BackupManifest(text: text)))
  }

  private func restore(
    _ backup: BackupID, to number: Int, _ key: VolumeKey?, epoch: Int = 0, on node: Node
  ) async throws -> AgentFailure? {
    var document = VolumeAssignment.sample(number, mib: 16, epoch: epoch)
    document.encrypted = key == nil ? nil : true
    document.key = key
    let event = await node.performer.perform(
      .performVolume(.restore(backup, epoch: epoch), document, [document])
    ) { _ in }
    guard case .volumePerformed(_, _, let failure)? = event else { throw AgentFailure(.storage, "another event came") }
    return failure
  }

  private var chunks: [BackupManifest.Chunk: [UInt8]] { plane.state.withLock { $0.shelf.chunks } }

  private func hash(_ bytes: [UInt8]) throws -> ChunkHash { try #require(ChunkHash(Array(SHA256.hash(data: bytes)))) }

  private func isFound(_ text: String) async -> Bool {
    (try? await run("grep", "-rqaF", text, directory.path + "/data")) != nil
  }

  /// A volume that holds a pattern, and what a guest wrote otherwise, with a snapshot of it.
  private func fill(on node: Node) async throws {
    try await make(1, key, on: node)
    let file = directory.path + "/plain"
    try Data(Self.text).write(to: URL(fileURLWithPath: file))
    try await write("-s \(file) 0 1M", on: node)
    try await write("-P 7 5M 2M", on: node)
    try await take(1, on: node)
  }

  @Test("all of it is sent sealed, then what was written since; equal parts once, and nothing that can be read")
  func sealed() async throws {
    var node = try await start()
    try await fill(on: node)
    let first = try await backUp(1, on: node)
    #expect(first.manifest.sealing == volume && first.manifest.reading == .full)
    #expect(first.manifest.chunks.keys.sorted() == [0, 5, 6] && first.manifest.readBytes == 3 * Self.mebibyte)
    #expect(first.manifest.chunks[5] == first.manifest.chunks[6] && chunks.count == 2)

    // An agent that has just started has the key only by the document.
    try await write("-P 8 6M 1M", on: node)
    try await node.pool.grow(volume, to: 32 << 20)
    try await take(2, on: node)
    node = try await start()
    let second = try await backUp(2, over: (first.id, 1), on: node)
    #expect(second.manifest.reading == .incremental && second.manifest.readBytes == Self.mebibyte)
    #expect(second.manifest.chunks.keys.sorted() == [0, 5, 6] && chunks.count == 3)
    #expect(second.manifest.chunks[0] == first.manifest.chunks[0] && second.manifest.chunks[6]?.owner == second.id)

    let seal = ChunkSeal(key, of: volume)
    for (chunk, bytes) in chunks {
      #expect(bytes.count == Self.mebibyte + BackupManifest.sealBytes)
      #expect(try hash(bytes) == chunk.hash)
      try Data(bytes).write(to: URL(fileURLWithPath: "\(directory.path)/data/sent-\(chunk.hash)"))
      #expect(try seal.open(bytes).count == Self.mebibyte)
    }
    // What an earlier backup has that is sealed otherwise is not built on.
    var other = first.manifest
    other.sealing = nil
    let text = other.text
    plane.state.withLock { $0.shelf.manifests[first.id] = text }
    #expect(try await backUp(2, over: (first.id, 1), on: node).manifest.reading == .full)
    for text in [Self.pattern, key.text] { #expect(await !isFound(text), "neither in the pool nor in what is sent") }
  }

  @Test("it is restored with the same key to a new volume, over one that has it, and to none that is not encrypted")
  func restored() async throws {
    let node = try await start()
    try await fill(on: node)
    let backup = try await backUp(1, on: node)
    try await write("-P 9 0 16M", on: node)
    let again = try await start()
    for (number, epoch) in [(1, 1), (2, 0)] {
      #expect(try await restore(backup.id, to: number, key, epoch: epoch, on: again) == nil)
      for (place, bytes) in [
        (0, Self.text), (1, Self.piece(0)), (5, Self.piece(7)), (6, Self.piece(7)), (15, Self.piece(0)),
      ] {
        #expect(try await read(number, at: place, key, on: again) == bytes, "\(number) at \(place)")
      }
    }
    let bare = try await restore(backup.id, to: 3, nil, on: again)
    #expect(bare?.kind == .hypervisorRefused, "\(String(describing: bare))")
    #expect(try await again.pool.look(.sample(3)) == .absent)
    for text in [Self.pattern, key.text] { #expect(await !isFound(text)) }

    // What was not encrypted becomes it.
    let plain = BackupID(UUID())
    let chunk = BackupManifest.Chunk(owner: plain, hash: try hash(Self.text))
    let manifest = BackupManifest(
      sizeBytes: 16 << 20, chunkBytes: Self.mebibyte, reading: .full, chunks: [3: chunk]
    ).text
    plane.state.withLock { state in
      state.shelf.chunks[chunk] = Self.text
      state.shelf.manifests[plain] = manifest
    }
    let own = try VolumeKey.random()
    #expect(try await restore(plain, to: 4, own, on: again) == nil)
    #expect(try await read(4, at: 3, own, on: again) == Self.text)
    #expect(await !isFound(Self.pattern))
  }

  @Test("of a volume over an image, which is not encrypted, all that the guest reads is sent sealed")
  func overImage() async throws {
    let node = try await start()
    let base = Assignment.BaseImage.sample
    let file = "\(directory.path)/data/images/\(base.sha256)"
    try Data(Self.piece(3)).write(to: URL(fileURLWithPath: file))
    try await node.pool.unlock(volume, with: key)
    try await node.pool.create(volume, sizeBytes: 16 << 20, from: .init(image: base))
    try await write("-P 7 512k 1M", on: node)
    try await take(1, on: node)
    let backup = try await backUp(1, on: node)
    #expect(backup.manifest.chunks.keys.sorted() == [0, 1])
    #expect(try await restore(backup.id, to: 2, key, on: node) == nil)
    let half = Self.mebibyte / 2
    for (place, first, second) in [(0, 3, 7), (1, 7, 0), (2, 0, 0)] as [(Int, UInt8, UInt8)] {
      let bytes = [UInt8](repeating: first, count: half) + [UInt8](repeating: second, count: half)
      for number in [1, 2] {
        #expect(try await read(number, at: place, key, on: node) == bytes, "\(number) at \(place)")
      }
    }
  }

  @Test("what does not open is damaged: nothing is replaced, whoever changed it, and with another key nothing opens")
  func damaged() async throws {
    let node = try await start()
    try await fill(on: node)
    let backup = try await backUp(1, on: node)
    let good = plane.state.withLock { $0.shelf }
    let chunk = try #require(backup.manifest.chunks[0])
    var bytes = try #require(chunks[chunk])
    bytes[100] ^= 1
    let changed = bytes
    try await write("-P 9 0 16M", on: node)
    func refuses(_ what: String, _ number: Int, _ key: VolumeKey) async throws {
      let failure = try await restore(backup.id, to: number, key, epoch: 1, on: node)
      #expect(failure?.kind == .backupDamaged, "\(what): \(String(describing: failure))")
      if number == 1 { #expect(try await read(1, at: 5, key, on: node) == Self.piece(9), "\(what)") }
    }
    plane.state.withLock { $0.shelf.chunks[chunk] = changed }
    try await refuses("a changed chunk", 1, key)

    // Under its right name, in a manifest that says so.
    let renamed = BackupManifest.Chunk(owner: chunk.owner, hash: try hash(changed))
    var manifest = backup.manifest
    manifest.chunks[0] = renamed
    let text = manifest.text
    plane.state.withLock { state in
      state.shelf = good
      state.shelf.chunks[renamed] = changed
      state.shelf.manifests[backup.id] = text
    }
    try await refuses("a chunk of somebody else", 1, key)
    plane.state.withLock { $0.shelf = good }
    try await refuses("another key", 2, try VolumeKey.random())
    #expect(try await node.pool.look(.sample(2)) == .absent)
    #expect(try await restore(backup.id, to: 1, key, epoch: 1, on: node) == nil)
    #expect(try await read(1, at: 5, key, on: node) == Self.piece(7))
  }
}
