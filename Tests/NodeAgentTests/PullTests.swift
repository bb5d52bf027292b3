import AloftModel
import Foundation
import JSON
import TestSupport
import Testing

@testable import NodeAgent

/// QEMU's own merging of layers, of which each moment can be the last one: what it leaves in the files is made here by `qemu-img`.
@Suite("Layers that a guest's QEMU merges")
struct PullTests {
  let pools: PoolTests
  let volume = VolumeID.sample(1)

  init() async throws { pools = try await PoolTests() }

  /// A volume that reads 2 from a layer which nobody names, above one that reads 1.
  private func begun() async throws -> LayerMerge {
    try await pools.pool.create(volume, sizeBytes: 64 << 20, from: nil)
    try await pools.write(1, to: volume)
    try await pools.take(1, of: volume)
    try await pools.write(2, to: volume)
    try await pools.take(2, of: volume)
    try await pools.pool.deleteSnapshot(.sample(2), of: volume)
    let merge = try #require(try await pools.stored(volume).merge)
    try await pools.pool.beginPull(merge)
    try await pools.pool.beginPull(merge)
    #expect(try await pools.stored(volume).pull == LayerPull(merge: merge, isCopied: false))
    return merge
  }

  private func rebase(_ merge: LayerMerge, onlyHeader: Bool) async throws {
    let below = try await run("qemu-img", "info", "-f", "qcow2", "--output=json", merge.layerSource.path)
    let name = try #require(
      try JSONValue.parse(below)["backing-filename"]?.stringValue?.split(separator: "/").last.map(String.init))
    try await run(
      ["qemu-img", "rebase", "-q", "-f", "qcow2"] + (onlyHeader ? ["-u"] : [])
        + ["-F", "qcow2", "-b", name, merge.childSource.path])
  }

  private func reopened() async throws -> DirectoryPool {
    try await DirectoryPool.open("test", pools.directory.path, reserve: 0, logger: quietLogger)
  }

  @Test("a guest that dies before what was copied is written down loses nothing, whatever its layer says")
  func died() async throws {
    let merge = try await begun()
    try await rebase(merge, onlyHeader: true)
    #expect(await pools.reads(1, merge.childSource.path), "this is what QEMU leaves")
    for pool in [pools.pool, try await reopened()] {
      let stored = try await pools.stored(volume, in: pool)
      #expect(stored.pull == LayerPull(merge: merge, isCopied: true))
      #expect(!VolumeAssignment.sample().isReady(.whole(stored)), "no guest gets it like this")
    }
    let pool = try await reopened()
    try await pool.undoPull(merge)
    try await pool.undoPull(merge)
    let stored = try await pools.stored(volume, in: pool)
    #expect(stored.pull == nil && stored.merge == merge)
    #expect(await pools.reads(2, stored.source.path))
    try await pool.merge(merge)
    #expect(await pools.reads(2, stored.source.path))
    #expect(pools.names("/layers").count == 2)
  }

  @Test("what QEMU has written down is one layer, and what it was copied from goes")
  func settled() async throws {
    let merge = try await begun()
    await #expect(throws: AgentFailure.self, "it lies over it still") { try await pools.pool.settlePull(merge) }
    try await rebase(merge, onlyHeader: false)
    #expect(try await pools.stored(volume).pull?.isCopied == true)
    #expect(pools.names("/layers").count { $0.hasSuffix(".qcow2") } == 3, "nothing goes by itself")
    try await pools.pool.settlePull(merge)
    try await pools.pool.settlePull(merge)
    let stored = try await pools.stored(volume)
    #expect(stored.pull == nil && stored.merge == nil)
    #expect(await pools.reads(2, stored.source.path))
    #expect(pools.names("/layers").count == 2)
    #expect(try await pools.stored(volume, in: try await reopened()) == stored)
  }

  @Test(
    "an image below is known by whatever path QEMU writes", arguments: ["../images", "%/layers/../images", "%/images"])
  func image(folder: String) async throws {
    let image = Assignment.BaseImage.sample
    let file = URL(fileURLWithPath: pools.directory.path + "/images/" + image.sha256)
    try Data([UInt8](repeating: 7, count: 1 << 20)).write(to: file)
    try await pools.pool.create(volume, sizeBytes: 64 << 20, from: .init(image: image))
    try await pools.take(1, of: volume)
    try await pools.pool.deleteSnapshot(.sample(1), of: volume)
    let merge = try #require(try await pools.stored(volume).merge)
    try await pools.pool.beginPull(merge)
    let name = folder.replacing("%", with: pools.directory.path) + "/" + image.sha256
    try await run(
      "qemu-img", "rebase", "-q", "-f", "qcow2", "-F", image.format.rawValue, "-b", name, merge.childSource.path)
    #expect(try await pools.stored(volume).pull?.isCopied == true)
    try await pools.pool.settlePull(merge)
    for pool in [pools.pool, try await reopened()] {
      let stored = try await pools.stored(volume, in: pool)
      #expect(stored.merge == nil && stored.depth == 1)
    }
    #expect(await pools.reads(7, merge.childSource.path))
  }

  @Test("a volume that is deleted in between leaves nothing")
  func deleted() async throws {
    try await rebase(try await begun(), onlyHeader: true)
    let pool = try await reopened()
    try await pool.delete(volume)
    #expect(pools.names("/layers") == [] && pools.names("/volumes") == [])
  }
}
