import AloftModel
import Execution
import Foundation
import TestSupport
import Testing

@testable import NodeAgent

@Suite("Copies between directory pools")
struct MovePoolTests {
  let old: PoolTests
  let directory: TemporaryDirectory
  let volume = VolumeID.sample(1)

  init() async throws {
    old = try await PoolTests()
    directory = try TemporaryDirectory()
  }

  private func open(
    reserve: Int = 0,
    checkpoint: @escaping @Sendable (String) throws(AgentFailure) -> Void = { (_) throws(AgentFailure) in }
  ) async throws -> DirectoryPool {
    try await DirectoryPool.open(
      "new", directory.path, reserve: reserve, logger: quietLogger, checkpoint: checkpoint)
  }

  private func names(_ folder: String) -> [String] { FileSystem.names(in: directory.path + folder) }

  /// A volume of two layers over an image.
  private func make() async throws {
    let base = Assignment.BaseImage.sample
    try Data([UInt8](repeating: 7, count: 8 << 20)).write(
      to: URL(fileURLWithPath: old.directory.path + "/images/" + base.sha256))
    try await old.pool.create(volume, sizeBytes: 1 << 30, from: .init(image: base))
    try await old.write(2, to: volume, mib: 2)
    try await old.take(1, of: volume)
    try await old.write(3, to: volume)
    try await old.pool.deleteSnapshot(.sample(1), of: volume)
    try await old.pool.keep(volume, asEpoch: 4)
  }

  private func reads(_ pool: DirectoryPool) async throws -> Bool {
    let path = try await old.stored(volume, in: pool).source.path
    let commands = [(3, 0), (2, 1), (7, 2), (7, 7), (0, 8), (0, 900)].flatMap { value, place in
      ["-c", "read -q -P \(value) \(place)M 1M"]
    }
    let output = try await run(["qemu-io", "-r", "-f", "qcow2"] + commands + [path])
    return !output.contains("failed")
  }

  private func move(to pool: DirectoryPool) async throws {
    let origin = try await old.pool.origin(of: volume)
    _ = try await pool.prepareCopy(of: volume, origin)
    try await pool.fillCopy(of: volume, from: origin) { _, _ in }
    try await pool.adoptCopy(of: volume)
  }

  @Test("a copy is one layer with all that there is, as small as that, and counts when it was adopted, not before")
  func whole() async throws {
    try await make()
    let pool = try await open()
    let origin = try await old.pool.origin(of: volume)
    #expect(origin.epoch == 4 && origin.sizeBytes == 1 << 30)
    let source = try await pool.prepareCopy(of: volume, origin)
    #expect(try await pool.copy(of: volume) == source)
    let told = Lock<[Int]>([])
    try await pool.fillCopy(of: volume, from: origin) { done, total in told.withLock { $0.append(done * 100 / total) } }
    #expect(told.withLock { $0 }.last == 100)
    #expect(try await pool.look(volume) == .absent, "it does not count yet")
    #expect(await pool.contents().volumes == [volume], "but is nobody's rubbish")
    // An agent that dies here leaves it; QEMU may be filling it.
    let again = try await open()
    #expect(try await again.copy(of: volume) == source)
    #expect(try await again.look(volume) == .absent)
    #expect(await again.contents().unowned == [])
    try await again.adoptCopy(of: volume)
    try await again.adoptCopy(of: volume)
    #expect(try await again.copy(of: volume) == nil)
    let stored = try await old.stored(volume, in: again)
    #expect(stored.source == source && stored.epoch == 4 && stored.depth == 1 && stored.snapshots == [])
    #expect(try await reads(again))
    #expect(FileSystem.blocks(of: source.path) < 16 << 20, "it is sparse")
    await #expect(throws: AgentFailure.self, "it is there") { _ = try await again.prepareCopy(of: volume, origin) }
    try await again.delete(volume)
    #expect(names("/layers") == [] && names("/volumes") == [])
  }

  @Test("a copy that is given up leaves nothing, in this life of the agent or another one")
  func discarded() async throws {
    try await make()
    let origin = try await old.pool.origin(of: volume)
    for isOther in [false, true] {
      var pool = try await open()
      _ = try await pool.prepareCopy(of: volume, origin)
      _ = try await pool.prepareCopy(of: volume, origin)
      #expect(names("/layers").count == 1)
      if isOther { pool = try await open() }
      try await pool.discardCopy(of: volume)
      try await pool.discardCopy(of: volume)
      #expect(names("/layers") == [] && names("/volumes") == [])
    }
  }

  @Test("wherever the agent dies there is nothing, a copy that does not count, or the volume")
  func dying() async throws {
    try await make()
    var deaths = 0
    for step in 1... {
      let count = Lock(0)
      let pool = try await open { (_) throws(AgentFailure) in
        let number = count.withLock { count in
          count += 1
          return count
        }
        if number == step { throw AgentFailure(.storage, "died") }
      }
      let isWhole = (try? await move(to: pool)) != nil
      let next = try await open()
      #expect(await next.contents().unowned == [], "death \(step)")
      if try await next.look(volume) == .absent {
        try await next.discardCopy(of: volume)
        #expect(names("/layers") == [] && names("/volumes") == [], "death \(step)")
        try await move(to: next)
      }
      #expect(try await reads(next), "death \(step)")
      try await next.delete(volume)
      #expect(names("/layers") == [] && names("/volumes") == [], "death \(step)")
      deaths = step
      if isWhole { break }
    }
    #expect(deaths > 3)
    #expect(try await reads(old.pool), "the old one is what it was")
  }

  @Test(
    "a pool that gets full in the middle says so; the old one is what it was, and nothing is left",
    .enabled("this process may not mount file systems") { await TemporaryFileSystem.isPermitted() })
  func full() async throws {
    try await make()
    try await old.write(5, to: volume, mib: 24)
    let disk = try await TemporaryFileSystem(at: directory.path + "/small", mebibytes: 40)
    let pool = try await DirectoryPool.open("small", disk.path, reserve: 0, logger: quietLogger)
    let origin = try await old.pool.origin(of: volume)
    _ = try await pool.prepareCopy(of: volume, origin)
    try Data(count: 30 << 20).write(to: URL(fileURLWithPath: disk.path + "/others"))
    do throws(AgentFailure) {
      try await pool.fillCopy(of: volume, from: origin) { _, _ in }
      Issue.record("there was no room")
    } catch { #expect(error.kind == .diskFull, "\(error)") }
    try await pool.discardCopy(of: volume)
    #expect(try await pool.copy(of: volume) == nil)
    #expect(FileSystem.names(in: disk.path + "/layers") == [] && FileSystem.names(in: disk.path + "/volumes") == [])
    #expect(await old.reads(5, try await old.stored(volume).source.path))
    try await disk.unmount()
  }

  @Test("copying ends when it is not wanted any more, and a pool without room says so before it begins")
  func ended() async throws {
    try await make()
    let origin = try await old.pool.origin(of: volume)
    let full = try await open(reserve: .max / 2)
    await #expect(throws: AgentFailure.self) { _ = try await full.prepareCopy(of: volume, origin) }
    #expect(names("/layers") == [] && names("/volumes") == [])
    let pool = try await open()
    _ = try await pool.prepareCopy(of: volume, origin)
    let copied = volume
    do throws(AgentFailure) {
      // It begins, and is ended.
      try await pool.fillCopy(of: copied, from: origin) { _, _ in Task { await pool.stopCopy(of: copied) } }
    } catch { #expect(error.kind == .changedMeanwhile) }
  }
}
