import AloftModel
import Foundation
import TestSupport
import Testing

@testable import NodeAgent

@Suite("Encrypted volumes of a directory pool", .serialized)
struct EncryptedPoolTests {
  let directory: TemporaryDirectory
  let pool: DirectoryPool
  let key: VolumeKey
  let volume = VolumeID.sample(1)

  init() async throws {
    directory = try TemporaryDirectory()
    pool = try await DirectoryPool.open("test", directory.path + "/pool", reserve: 0, logger: quietLogger)
    key = try VolumeKey.random()
  }

  private func source(_ volume: VolumeID) async throws -> (layer: LayerID, stored: StoredVolume) {
    guard case .whole(let stored) = try await pool.look(volume) else { throw AgentFailure(.storage, "not whole") }
    return (LayerID(String((stored.source.path.split(separator: "/").last ?? "").dropLast(6))), stored)
  }

  private func io(_ command: String, _ volume: VolumeID, key: VolumeKey? = nil) async throws {
    let key = key ?? self.key
    let name = try await pool.opening(source(volume).layer, with: key)
    try await Tool.run(
      "qemu-io", Tool.secretArguments + ["-c", command] + name, secret: Array(key.text.utf8))
  }

  private func take(_ snapshot: Int, of volume: VolumeID) async throws {
    _ = try await pool.beginSnapshot(.sample(snapshot), of: volume)
    try await pool.finishSnapshot(.sample(snapshot), of: volume, takenAt: 5, quiesced: true)
  }

  @Test("what is written is in no file of the pool; with another key, and with none, nothing can be read")
  func sealed() async throws {
    let pattern = "aloft-pattern-that-is-found"
    try await pool.unlock(volume, with: key)
    try await pool.create(volume, sizeBytes: 16 << 20, from: nil)
    let file = directory.path + "/plain"
    try String(repeating: pattern, count: 40_000).write(toFile: file, atomically: true, encoding: .utf8)
    try await io("write -q -s \(file) 0 1M", volume)
    try await io("read -q -P 0 8M 1M", volume)
    for command in [["grep", "-rqaF", pattern], ["grep", "-rqaF", key.text]] {
      await #expect(throws: CommandFailure.self) { try await run(command + [directory.path + "/pool"]) }
    }
    try await run("grep", "-qaF", pattern, file)
    let other = try VolumeKey.random()
    await #expect(throws: AgentFailure.self) { try await io("read -q 0 1M", volume, key: other) }
    await #expect(throws: CommandFailure.self) {
      try await run("qemu-io", "-r", "-f", "qcow2", "-c", "read -q 0 1M", source(volume).stored.source.path)
    }
  }

  @Test("without its key a volume is looked at and deleted, and nothing else is done with it")
  func locked() async throws {
    try await pool.unlock(volume, with: key)
    try await pool.create(volume, sizeBytes: 16 << 20, from: nil)
    try await take(1, of: volume)
    let again = try await DirectoryPool.open("test", directory.path + "/pool", reserve: 0, logger: quietLogger)
    guard case .whole(let stored) = try await again.look(volume) else {
      throw AgentFailure(.storage, "it cannot be looked at")
    }
    #expect(stored.encryption?.below.count == 1 && stored.encryption?.base == nil)
    func refused(_ what: String, _ body: () async throws(AgentFailure) -> Void) async {
      do throws(AgentFailure) {
        try await body()
        Issue.record("\(what) is not refused")
      } catch { #expect(error.kind == .volumeLocked, "\(what): \(error)") }
    }
    let source = VolumeAssignment.Source(snapshot: .sample(1), of: volume)
    await refused("growing") { () async throws(AgentFailure) in try await again.grow(volume, to: 32 << 20) }
    await refused("a snapshot") { () async throws(AgentFailure) in
      _ = try await again.beginSnapshot(.sample(2), of: volume)
    }
    await refused("going back") { () async throws(AgentFailure) in
      try await again.revert(volume, to: .sample(1), epoch: 1, sizeBytes: 16 << 20)
    }
    await refused("a clone") { () async throws(AgentFailure) in
      try await again.create(.sample(2), sizeBytes: 16 << 20, from: source)
    }
    let export = VolumeAssignment.Export(image: ImageID(UUID()), snapshot: .sample(1))
    await #expect(throws: AgentFailure.self) { try await again.export(export, of: volume, begin: {}) { _, _ in } }
    try await again.delete(volume)
    #expect(FileSystem.names(in: directory.path + "/pool/layers") == [])
  }

  @Test("over an image it reads the image; grown, cloned, put back and merged it reads what it should")
  func acts() async throws {
    let base = Assignment.BaseImage.sample
    let raw = Data(repeating: 3, count: 1 << 20)
    try raw.write(to: URL(fileURLWithPath: directory.path + "/pool/images/" + base.sha256))
    try await pool.unlock(volume, with: key)
    try await pool.create(volume, sizeBytes: 4 << 20, from: .init(image: base))
    #expect(try await source(volume).stored.encryption?.base?.format == "raw")
    try await io("read -q -P 3 0 1M", volume)
    try await io("write -q -P 4 1M 1M", volume)
    try await take(1, of: volume)
    try await io("write -q -P 5 1M 1M", volume)
    try await take(2, of: volume)
    try await io("write -q -P 6 2M 1M", volume)
    try await pool.grow(volume, to: 8 << 20)
    try await io("read -q -P 0 4M 4M", volume)

    let clone = VolumeID.sample(2)
    try await pool.unlock(clone, with: key)
    try await pool.create(clone, sizeBytes: 4 << 20, from: .init(snapshot: .sample(1), of: volume))
    try await io("read -q -P 4 1M 1M", clone)

    try await pool.deleteSnapshot(.sample(1), of: volume)
    try await pool.deleteSnapshot(.sample(2), of: volume)
    var merges = 0
    while let merge = try await source(volume).stored.merge {
      try await pool.merge(merge)
      merges += 1
    }
    #expect(merges == 1, "the lowest layer has two above it")
    for (value, place) in [(3, 0), (5, 1), (6, 2), (0, 4)] { try await io("read -q -P \(value) \(place)M 1M", volume) }
    try await io("read -q -P 4 1M 1M", clone)
    try await pool.delete(clone)
    while let merge = try await source(volume).stored.merge { try await pool.merge(merge) }
    #expect(try await source(volume).stored.depth == 1)
    for (value, place) in [(3, 0), (5, 1), (6, 2), (0, 4)] { try await io("read -q -P \(value) \(place)M 1M", volume) }

    try await take(3, of: volume)
    try await io("write -q -P 9 0 8M", volume)
    try await pool.revert(volume, to: .sample(3), epoch: 1, sizeBytes: 8 << 20)
    for (value, place) in [(3, 0), (5, 1), (6, 2), (0, 4)] { try await io("read -q -P \(value) \(place)M 1M", volume) }
  }

  @Test(
    "whatever is done in whatever order, and wherever the process dies, every volume and snapshot reads as it should")
  func storm() async throws {
    let storm = try await PoolStorm(root: directory.path + "/storm", seed: 5, key: key)
    for _ in 1...10 {
      try await storm.step()
      try await storm.check()
    }
    try await storm.mergeAll()
    try await storm.check()
    for volume in storm.volumes.keys { try await storm.pool.delete(volume) }
    #expect(FileSystem.names(in: storm.root + "/layers") == [] && FileSystem.names(in: storm.root + "/volumes") == [])
  }
}

extension VolumeKey {
  /// A new one, which must not come to a log.
  static func random() throws -> VolumeKey {
    let key = try #require(VolumeKey((0..<VolumeKey.length).map { _ in .random(in: .min ... .max) }))
    TestSecrets.register(key.text)
    return key
  }
}
