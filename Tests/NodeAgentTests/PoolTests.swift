import AloftModel
import Execution
import Foundation
import TestSupport
import Testing

@testable import NodeAgent

@Suite("Directory pool")
struct PoolTests {
  let directory: TemporaryDirectory
  let pool: DirectoryPool
  let volume = VolumeID.sample(1)

  init() async throws {
    directory = try TemporaryDirectory()
    pool = try await DirectoryPool.open("test", directory.path, reserve: 0, logger: quietLogger)
  }

  func names(_ folder: String) -> [String] { FileSystem.names(in: directory.path + folder) }

  func stored(_ volume: VolumeID, in pool: DirectoryPool? = nil) async throws -> StoredVolume {
    guard case .whole(let stored) = try await (pool ?? self.pool).look(volume) else {
      throw AgentFailure(.storage, "not whole")
    }
    return stored
  }

  func write(_ value: Int, to volume: VolumeID, mib: Int = 1) async throws {
    try await run(
      "qemu-io", "-f", "qcow2", "-c", "write -q -P \(value) 0 \(mib)M", try await stored(volume).source.path)
  }

  func reads(_ value: Int, _ path: String) async -> Bool {
    (try? await run("qemu-io", "-r", "-f", "qcow2", "-c", "read -q -P \(value) 0 1M", path)) != nil
  }

  func take(_ snapshot: Int, of volume: VolumeID) async throws {
    _ = try await pool.beginSnapshot(.sample(snapshot), of: volume)
    try await pool.finishSnapshot(.sample(snapshot), of: volume, takenAt: 5, quiesced: true)
  }

  @Test("an image goes when nothing has needed it for an hour; one under a volume, or wanted, stays")
  func unusedImages() async throws {
    let hour = 3_600_000
    let raw = [UInt8](repeating: 7, count: 1 << 20)
    func put(_ name: String) throws {
      try Data(raw).write(to: URL(fileURLWithPath: directory.path + "/images/" + name))
    }
    let base = Assignment.BaseImage.sample
    for name in [base.sha256, "wanted", "unused"] { try put(name) }
    try await pool.create(volume, sizeBytes: 1 << 30, from: .init(image: base))
    try await pool.removeImages(but: ["wanted"], uptime: 5)
    try await pool.removeImages(but: ["wanted"], uptime: hour)
    #expect(Set(names("/images")) == [base.sha256, "wanted", "unused"])
    try await pool.removeImages(but: ["unused"], uptime: hour + 1)
    try await pool.removeImages(but: ["wanted"], uptime: hour + 2)
    try await pool.removeImages(but: ["wanted"], uptime: 2 * hour + 1)
    #expect(names("/images").count == 3, "being wanted begins the hour anew")
    try await pool.removeImages(but: ["wanted"], uptime: 2 * hour + 2)
    #expect(Set(names("/images")) == [base.sha256, "wanted"])
    try await pool.delete(volume)
    try await pool.removeImages(but: [], uptime: 3 * hour)
    try await pool.removeImages(but: [], uptime: 4 * hour)
    #expect(names("/images") == [])
  }

  @Test(
    "whatever is done in whatever order, and wherever the process dies, every volume and snapshot reads as it should",
    arguments: [1, 2, 3])
  func storm(seed: UInt64) async throws {
    let storm = try await PoolStorm(root: directory.path + "/storm", seed: seed)
    for _ in 1...25 {
      try await storm.step()
      try await storm.check()
    }
    try await storm.mergeAll()
    try await storm.check()
    #expect(storm.crashes > 0)
    // What is left is needed: it has a name, or more than one layer above it.
    let graph = await storm.pool.graph
    for layer in graph.layers.keys { #expect(graph.isNamed(layer) || graph.children(of: layer).count > 1) }
    for volume in storm.volumes.keys { try await storm.pool.delete(volume) }
    #expect(FileSystem.names(in: storm.root + "/layers") == [] && FileSystem.names(in: storm.root + "/volumes") == [])
  }

  @Test("an empty layer takes the place of a volume's newest one if something was written to that, and only then")
  func emptyLeaf() async throws {
    try await pool.create(volume, sizeBytes: 64 << 20, from: nil)
    try await write(7, to: volume)
    try await take(1, of: volume)
    let made = try await stored(volume).source
    try await pool.emptyLeaf(of: volume)
    #expect(try await stored(volume).source == made, "somebody may be about to go over to it")
    try await write(9, to: volume)
    try await pool.emptyLeaf(of: volume)
    let leaf = try await stored(volume).source
    #expect(leaf != made && !FileSystem.exists(made.path))
    #expect(await reads(7, leaf.path))
  }

  @Test("an export is one file with the snapshot's data, made once, kept over a restart, and gone when nobody wants it")
  func export() async throws {
    let began = Lock(0)
    let image = ImageID(UUID())
    let export = VolumeAssignment.Export(image: image, snapshot: .sample(1))
    @Sendable func begin() async throws(AgentFailure) { began.withLock { $0 += 1 } }
    try await pool.create(volume, sizeBytes: 64 << 20, from: nil)
    try await write(7, to: volume, mib: 8)
    await #expect(throws: AgentFailure.self, "there is no such snapshot yet") {
      try await pool.export(export, of: volume, begin: begin) { _, _ in }
    }
    try await take(1, of: volume)
    try await write(9, to: volume)
    let shown = Lock<[(Int, Int)]>([])
    let file = try await pool.export(export, of: volume, begin: begin) { done, total in
      shown.withLock { $0.append((done, total)) }
    }
    #expect(began.withLock { $0 } == 1)
    #expect(shown.withLock { all in all.allSatisfy { $0.0 <= $0.1 && $0.1 > 8 << 20 } && all.last?.0 ?? 0 > 0 })
    #expect(await reads(7, file.path))
    #expect(try await run("qemu-img", "info", file.path).contains("backing file") == false)
    let digest = file.sha256.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    #expect(try await run("sha256sum", file.path).hasPrefix(digest))
    #expect(try FileSystem.size(of: file.path) == file.sizeBytes)

    try await pool.deleteSnapshot(.sample(1), of: volume)
    let again = try await DirectoryPool.open("test", directory.path, reserve: 0, logger: quietLogger)
    #expect(try await again.export(export, of: volume, begin: begin) { _, _ in } == file)
    #expect(began.withLock { $0 } == 1, "the file is the same")
    try await again.removeExports(but: [image])
    #expect(names("/exports").count == 1)
    try await again.removeExports(but: [])
    #expect(names("/exports") == [])
  }

  @Test("a clone of what a snapshot holds of several volumes has the data of the one that is named")
  func cloneOfOne() async throws {
    for number in 1...4 {
      try await pool.create(.sample(number), sizeBytes: 4 << 20, from: nil)
      try await write(number, to: .sample(number))
      try await take(1, of: .sample(number))
      try await write(9, to: .sample(number))
    }
    for number in 1...4 {
      let clone = VolumeID.sample(10 + number)
      try await pool.create(clone, sizeBytes: 4 << 20, from: .init(snapshot: .sample(1), of: .sample(number)))
      #expect(await reads(number, try await stored(clone).source.path))
    }
    await #expect(throws: AgentFailure.self) {
      try await pool.create(.sample(20), sizeBytes: 4 << 20, from: .init(snapshot: .sample(1), of: .sample(5)))
    }
  }

  @Test("a volume is made once; a clone shares its data and keeps it when the source goes")
  func clone() async throws {
    try await pool.create(volume, sizeBytes: 4 << 20, from: nil)
    let first = try await stored(volume)
    try await pool.create(volume, sizeBytes: 8 << 20, from: nil)
    #expect(try await stored(volume) == first && first.sizeBytes == 4 << 20)
    try await write(7, to: volume, mib: 2)
    try await take(1, of: volume)
    try await write(8, to: volume)
    try await pool.create(.sample(2), sizeBytes: 16 << 20, from: .init(snapshot: .sample(1), of: .sample(1)))
    let clone = try await stored(.sample(2))
    #expect(clone.sizeBytes == 16 << 20 && clone.usedBytes < 1 << 20)
    #expect(await reads(7, clone.source.path))
    try await pool.delete(volume)
    #expect(try await pool.look(volume) == .absent)
    #expect(await reads(7, clone.source.path))
    let merge = try #require(try await stored(.sample(2)).merge)
    #expect(merge.volumes == [.sample(2)] && merge.tops == [clone.source])
    try await pool.merge(merge)
    #expect(names("/layers").count == 1 && names("/volumes").count == 1)
    #expect(try await stored(.sample(2)).usedBytes >= 2 << 20)
    #expect(await reads(7, try await stored(.sample(2)).source.path))
  }

  @Test("a snapshot counts as taken when it is finished; until then the layer below is known to be open")
  func begun() async throws {
    try await pool.create(volume, sizeBytes: 1 << 20, from: nil)
    let before = try await stored(volume)
    let leaf = try await pool.beginSnapshot(.sample(1), of: volume)
    #expect(try await pool.beginSnapshot(.sample(1), of: volume) == leaf)
    let begun = try await stored(volume)
    #expect(begun.source == leaf && begun.below == before.source && begun.earlier == [before.source])
    #expect(begun.snapshots.map(\.takenAt) == [nil] && begun.depth == 2)
    // Another process finishes it.
    let other = try await DirectoryPool.open("test", directory.path, reserve: 0, logger: quietLogger)
    try await other.finishSnapshot(.sample(1), of: volume, takenAt: 9, quiesced: true)
    let taken = try await stored(volume, in: other)
    #expect(taken.snapshots == [.init(id: .sample(1), takenAt: 9, quiesced: true)] && taken.earlier == [])
  }

  @Test("the smaller of two layers is copied into the larger one", arguments: [(1, 3), (3, 1)])
  func merging(lower: Int, upper: Int) async throws {
    try await pool.create(volume, sizeBytes: 8 << 20, from: nil)
    try await write(5, to: volume, mib: lower)
    try await take(1, of: volume)
    try await write(6, to: volume, mib: upper)
    let files = try names("/layers").map { try FileSystem.inode(directory.path + "/layers/" + $0) }
    let top = try await stored(volume).source.path
    let inode = try FileSystem.inode(top)
    try await pool.deleteSnapshot(.sample(1), of: volume)
    try await pool.merge(try #require(try await stored(volume).merge))
    #expect(names("/layers") == [String(top.split(separator: "/").last ?? "")])
    #expect((try FileSystem.inode(top) == inode) == (upper > lower), "\(files)")
    #expect(await reads(6, top))
    #expect(try await stored(volume).merge == nil)
  }

  @Test("a manifest or layer that is missing or damaged is told of; nothing of others is deleted meanwhile")
  func damage() async throws {
    for number in 1...3 { try await pool.create(.sample(number), sizeBytes: 1 << 20, from: nil) }
    let manifest = directory.path + "/volumes/\(volume).json"
    let bytes = try FileSystem.readAll(manifest)
    try FileSystem.delete(manifest)
    guard case .damaged(let what) = try await pool.look(volume) else { throw AgentFailure(.storage, "not damaged") }
    #expect(what.contains("missing"))
    // To another process the volume is not there, but its layer stays.
    let other = try await DirectoryPool.open("test", directory.path, reserve: 0, logger: quietLogger)
    #expect(try await other.look(volume) == .absent && names("/layers").count == 3)
    try FileSystem.replace(manifest, with: bytes)
    #expect(try await stored(volume, in: other).sizeBytes == 1 << 20)
    try FileSystem.replace(manifest, with: Array(bytes.prefix(20)))
    let third = try await DirectoryPool.open("test", directory.path, reserve: 0, logger: quietLogger)
    guard case .damaged = try await third.look(volume) else { throw AgentFailure(.storage, "not damaged") }
    try await third.delete(.sample(2))
    #expect(names("/layers").filter { $0.hasSuffix(".qcow2") }.count == 3, "who knows what the damaged one names")
    try await third.delete(volume)
    #expect(try await third.look(volume) == .absent)
    #expect(try await third.look(.sample(2)) == .absent)
    let path = try await stored(.sample(3), in: third).source.path
    try Data([1, 2, 3]).write(to: URL(fileURLWithPath: path))
    guard case .damaged = try await third.look(.sample(3)) else { throw AgentFailure(.storage, "not damaged") }
    unlink(path)
    guard case .damaged = try await third.look(.sample(3)) else { throw AgentFailure(.storage, "not damaged") }
  }

  @Test("a volume over an image needs it there, and at least as large as it is")
  func image() async throws {
    var image = Assignment.BaseImage.sample
    let raw = [UInt8](repeating: 3, count: 2 << 20)
    try Data(raw).write(to: URL(fileURLWithPath: directory.path + "/images/" + image.sha256))
    image.sizeBytes = raw.count
    await #expect(throws: AgentFailure.self) {
      try await pool.create(volume, sizeBytes: 1 << 20, from: .init(image: image))
    }
    try await pool.create(volume, sizeBytes: 4 << 20, from: .init(image: image))
    #expect(await reads(3, try await stored(volume).source.path))
    #expect(await pool.graph.usedImages == [image.sha256])
    image.sha256 = String(repeating: "b", count: 64)
    await #expect(throws: AgentFailure.self) {
      try await pool.create(.sample(2), sizeBytes: 4 << 20, from: .init(image: image))
    }
    try FileSystem.delete(directory.path + "/images/" + Assignment.BaseImage.sample.sha256)
    guard case .damaged = try await pool.look(volume) else { throw AgentFailure(.storage, "not damaged") }
  }

  @Test("a chain of layers has an end")
  func depth() async throws {
    try await pool.create(volume, sizeBytes: 1 << 20, from: nil)
    for number in 1..<DirectoryPool.maximumDepth { try await take(number, of: volume) }
    #expect(try await stored(volume).depth == DirectoryPool.maximumDepth)
    await #expect(throws: AgentFailure.self) { try await take(100, of: volume) }
  }
}

extension FileSystem {
  fileprivate static func inode(_ path: String) throws -> Int {
    try FileManager.default.attributesOfItem(atPath: path)[.systemFileNumber] as? Int ?? 0
  }
}
