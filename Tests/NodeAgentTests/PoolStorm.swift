import AloftModel
import Execution
import Foundation
import TestSupport
import Testing

@testable import NodeAgent

/// A directory pool beside a model of what it must hold. The process can die before any change of a file: then the pool is
/// opened anew.
final class PoolStorm {
  static let blockBytes = 64 << 10

  /// One byte for each block of 64 KiB, which is filled with it.
  typealias Content = [UInt8]

  struct Volume {
    var content: Content
    var epoch = 0
    var snapshots: [SnapshotID: Content] = [:]
  }

  let root: String
  var pool: DirectoryPool
  var random: SplitMix
  var volumes: [VolumeID: Volume] = [:]
  /// How many more changes of files go well; nil: all.
  private let countdown = Lock<Int?>(nil)
  private var number = 0
  private(set) var crashes = 0

  /// Of all volumes; nil: they are not encrypted.
  private let key: VolumeKey?

  init(root: String, seed: UInt64, key: VolumeKey? = nil) async throws {
    self.root = root
    self.key = key
    random = SplitMix(seed: seed)
    pool = try await DirectoryPool.open("storm", root, reserve: 0, logger: quietLogger)
    try await reopen()
  }

  private struct Crash: Error {}

  private func reopen() async throws {
    let countdown = countdown
    countdown.withLock { $0 = nil }
    pool = try await DirectoryPool.open("storm", root, reserve: 0, logger: quietLogger) {
      (_) throws(AgentFailure) in
      let dies = countdown.withLock { left -> Bool in
        guard let count = left else { return false }
        left = count - 1
        return count <= 0
      }
      if dies { throw AgentFailure(.storage, "simulated: the process died") }
    }
    for volume in volumes.keys { try await unlock(volume) }
  }

  private func unlock(_ volume: VolumeID) async throws { if let key { try await pool.unlock(volume, with: key) } }

  /// Lets one of QEMU's programs open a layer.
  private func use(_ program: [String], _ layer: String, _ rest: [String] = []) async throws {
    guard let key else {
      try await run(program + ["-f", "qcow2"] + [layer] + rest)
      return
    }
    let id = LayerID(String((layer.split(separator: "/").last ?? "").dropLast(6)))
    let name = await pool.opening(id, with: key)
    try await Tool.run(
      program[0], Array(program.dropFirst()) + Tool.secretArguments + name + rest, secret: Array(key.text.utf8))
  }

  /// Does something, dying in the middle of it as often as chance wants, until it is done. After each death all content is
  /// there.
  private func survive(_ body: (DirectoryPool) async throws -> Void) async throws {
    while true {
      let left = Bool.random(using: &random) ? Int.random(in: 0...7, using: &random) : nil
      countdown.withLock { $0 = left }
      do {
        try await body(pool)
        countdown.withLock { $0 = nil }
        return
      } catch let failure as AgentFailure where failure.detail.hasPrefix("simulated") {
        crashes += 1
        try await reopen()
        try await check()
      }
    }
  }

  func path(of volume: VolumeID) async throws -> String {
    guard case .whole(let stored) = try await pool.look(volume) else { throw Crash() }
    return stored.source.path
  }

  /// One random operation, and merges that have become possible.
  func step() async throws {
    let known = volumes.keys.sorted { $0.description < $1.description }
    guard let volume = known.randomElement(using: &random), volumes.count < 5 || number % 7 != 0 else {
      return try await create()
    }
    let snapshots = (volumes[volume]?.snapshots ?? [:]).keys.sorted { $0.description < $1.description }
    switch Int.random(in: 0...13, using: &random) {
    case 0...3: try await write(volume)
    case 4...6: try await snapshot(volume)
    case 7...8: if let old = snapshots.randomElement(using: &random) { try await delete(old, of: volume) }
    case 9: if let old = snapshots.randomElement(using: &random) { try await revert(volume, to: old) }
    case 10: if let old = snapshots.randomElement(using: &random) { try await clone(old, of: volume) }
    case 11: try await grow(volume)
    case 12: try await create()
    default:
      // Whatever happens meanwhile: nobody asks for it any more.
      volumes[volume] = nil
      try await survive { try await $0.delete(volume) }
    }
    if Int.random(in: 0...2, using: &random) == 0 { try await mergeAll() }
  }

  private func create() async throws {
    number += 1
    let volume = VolumeID.sample(number)
    let key = key
    try await survive { pool in
      if let key { try await pool.unlock(volume, with: key) }
      try await pool.create(volume, sizeBytes: 8 * Self.blockBytes, from: nil)
    }
    volumes[volume] = Volume(content: Content(repeating: 0, count: 8))
  }

  private func write(_ volume: VolumeID) async throws {
    guard var content = volumes[volume]?.content else { return }
    var commands: [String] = []
    for _ in 0..<Int.random(in: 1...4, using: &random) {
      let block = Int.random(in: 0..<content.count, using: &random)
      let value = UInt8.random(in: 0...5, using: &random)
      // Zeros are written as such: they must hide what is below.
      let how = value == 0 ? "-z" : "-P \(value)"
      commands += ["-c", "write -q \(how) \(block * Self.blockBytes) \(Self.blockBytes)"]
      content[block] = value
    }
    try await use(["qemu-io"] + commands, try await path(of: volume))
    volumes[volume]?.content = content
  }

  private func snapshot(_ volume: VolumeID) async throws {
    number += 1
    let snapshot = SnapshotID.sample(number)
    try await survive { pool in
      _ = try await pool.beginSnapshot(snapshot, of: volume)
      try await pool.finishSnapshot(snapshot, of: volume, takenAt: 1, quiesced: false)
    }
    let content = volumes[volume]?.content
    volumes[volume]?.snapshots[snapshot] = content
  }

  private func delete(_ snapshot: SnapshotID, of volume: VolumeID) async throws {
    volumes[volume]?.snapshots[snapshot] = nil
    try await survive { try await $0.deleteSnapshot(snapshot, of: volume) }
  }

  private func revert(_ volume: VolumeID, to snapshot: SnapshotID) async throws {
    guard var known = volumes[volume], var content = known.snapshots[snapshot] else { return }
    let size = known.content.count
    known.epoch += 1
    let epoch = known.epoch
    // While it goes on the content is the old one or the new one.
    let old = known
    content += Content(repeating: 0, count: size - content.count)
    known.content = content
    let new = known
    accepted = [volume: [old, new]]
    try await survive {
      try await $0.revert(volume, to: snapshot, epoch: epoch, sizeBytes: size * Self.blockBytes)
    }
    accepted = [:]
    volumes[volume] = new
  }

  private func clone(_ snapshot: SnapshotID, of volume: VolumeID) async throws {
    guard let content = volumes[volume]?.snapshots[snapshot] else { return }
    number += 1
    let clone = VolumeID.sample(number)
    let blocks = content.count + Int.random(in: 0...2, using: &random)
    let key = key
    try await survive {
      if let key { try await $0.unlock(clone, with: key) }
      try await $0.create(clone, sizeBytes: blocks * Self.blockBytes, from: .init(snapshot: snapshot, of: volume))
    }
    volumes[clone] = Volume(content: content + Content(repeating: 0, count: blocks - content.count))
  }

  private func grow(_ volume: VolumeID) async throws {
    guard let content = volumes[volume]?.content, content.count < 24 else { return }
    let blocks = content.count + Int.random(in: 1...3, using: &random)
    accepted = [volume: [volumes[volume], grown(volumes[volume], blocks)].compactMap { $0 }]
    try await survive { try await $0.grow(volume, to: blocks * Self.blockBytes) }
    accepted = [:]
    volumes[volume] = grown(volumes[volume], blocks)
  }

  private func grown(_ volume: Volume?, _ blocks: Int) -> Volume? {
    guard var volume else { return nil }
    volume.content += Content(repeating: 0, count: blocks - volume.content.count)
    return volume
  }

  /// Merges until nothing can be merged.
  func mergeAll() async throws {
    while let merge = try await nextMerge() { try await survive { try await $0.merge(merge) } }
  }

  private func nextMerge() async throws -> LayerMerge? {
    for volume in volumes.keys.sorted(by: { $0.description < $1.description }) {
      if case .whole(let stored) = try await pool.look(volume), let merge = stored.merge { return merge }
    }
    return nil
  }

  /// What may be there instead while an operation is under way.
  private var accepted: [VolumeID: [Volume]] = [:]

  /// Compares every volume, and every snapshot, with the model.
  func check() async throws {
    for (volume, known) in volumes {
      guard case .whole(let stored) = try await pool.look(volume) else {
        Issue.record("\(volume) is \(try await pool.look(volume))")
        continue
      }
      let found = try await read(stored.source.path)
      let good = (accepted[volume] ?? [known]).map(\.content)
      #expect(good.contains(found), "\(volume)")
      for (snapshot, content) in known.snapshots {
        guard let layer = await pool.graph.layer(of: snapshot, of: volume) else {
          Issue.record("\(snapshot) is missing")
          continue
        }
        #expect(try await read(await pool.path(of: layer)) == content, "\(snapshot)")
      }
    }
  }

  private func read(_ path: String) async throws -> Content {
    let raw = root + "/raw"
    try await use(["qemu-img", "convert", "-O", "raw"], path, [raw])
    let bytes = try FileSystem.readAll(raw)
    return stride(from: 0, to: bytes.count, by: Self.blockBytes).map { start in
      let block = bytes[start..<min(start + Self.blockBytes, bytes.count)]
      return block.allSatisfy { $0 == block[start] } ? block[start] : 255
    }
  }
}
