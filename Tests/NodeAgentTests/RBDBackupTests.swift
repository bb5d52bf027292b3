import AloftModel
import CephTestSupport
import Execution
import Foundation
import Glibc
import TestSupport
import Testing

@testable import NodeAgent

@Suite("What is read of a pool in Ceph for backups, and restored into it", .enabled(if: PrivateCeph.isInstalled))
struct RBDBackupTests {
  let directory: TemporaryDirectory
  let cache: DirectoryPool
  let ceph: PrivateCeph
  let access: CephAccess
  let pool: RBDPool
  let volume = VolumeID.sample(1)
  private static let mebibyte = 1 << 20

  init() async throws {
    directory = try TemporaryDirectory()
    cache = try await DirectoryPool.open("local", directory.path, reserve: 0, logger: quietLogger)
    ceph = try await PrivateCeph.shared()
    access = try await ceph.access()
    pool = RBDPool("shared", access, cache: cache, logger: quietLogger)
  }

  private func head(of volume: VolumeID) async throws -> String {
    guard case .whole(let stored) = try await pool.look(volume) else { throw AgentFailure(.storage, "not whole") }
    return access.qemuName(String(stored.source.path.split(separator: "/").last ?? ""))
  }

  private func write(_ commands: String...) async throws {
    try await run(["qemu-io", "-f", "raw"] + commands.flatMap { ["-c", $0] } + [try await head(of: volume)])
  }

  private func reads(_ value: Int, at mebibyte: Int, of volume: VolumeID) async throws -> Bool {
    let head = try await head(of: volume)
    return (try? await run("qemu-io", "-r", "-f", "raw", "-c", "read -q -P \(value) \(mebibyte)M 1M", head)) != nil
  }

  private func take(_ snapshot: Int) async throws {
    _ = try await pool.beginSnapshot(.sample(snapshot), of: volume)
    try await pool.captureSnapshot(.sample(snapshot), of: volume)
    try await pool.finishSnapshot(.sample(snapshot), of: volume, takenAt: 5, quiesced: true)
  }

  private func names() async throws -> [String] {
    try await ceph.exec("rbd", "ls", access.pool).split(separator: "\n").map(String.init)
  }

  private struct Read: Sendable, Equatable {
    var reading: BackupReading
    /// The first byte of each chunk that was read; nil: it is all zeros.
    var chunks: [Int: UInt8?] = [:]
  }

  private func read(_ snapshot: Int, since base: Int? = nil) async throws -> Read {
    let wanted = VolumeAssignment.Backup(
      backup: BackupID(UUID()), snapshot: .sample(snapshot), base: base.map { .sample($0) }, chunkBytes: Self.mebibyte)
    let result = Lock(Read(reading: .full))
    try await pool.read(wanted, of: volume) { source throws(AgentFailure) in
      // Who reads for a backup has nothing open that a guest could wait for.
      guard try await pool.isOpen(volume) == false else { throw AgentFailure(.volumeInUse, "it counts as open") }
      var read = Read(reading: source.reading)
      for index in try await source.changed() {
        let chunk = try await source.chunk(index)
        read.chunks[index] = .some(chunk.hash == nil ? nil : chunk.bytes[0])
      }
      let whole = read
      result.withLock { $0 = whole }
    }
    return result.withLock { $0 }
  }

  @Test("all that is there is read once; then only what was written or discarded since; nothing is left of reading")
  func changes() async throws {
    try await pool.create(volume, sizeBytes: 1 << 30, from: nil)
    // Ceph keeps an object of 4 MiB from its beginning to the last byte that was written to it.
    try await write("write -q -P 1 0 1M", "write -q -P 2 4M 1M", "write -q -P 3 900M 1M")
    try await take(1)
    #expect(try await read(1) == Read(reading: .full, chunks: [0: 1, 4: 2, 900: 3]))
    try await write("write -q -P 4 4M 1M", "write -q -P 5 8M 64k")
    try await take(2)
    try await write("write -q -z 900M 1M")
    try await take(3)
    #expect(try await read(3, since: 1) == Read(reading: .incremental, chunks: [4: 4, 8: 5, 900: nil]))
    #expect(try await read(2, since: 1) == Read(reading: .incremental, chunks: [4: 4, 8: 5]))
    #expect(try await read(3, since: 2) == Read(reading: .incremental, chunks: [900: nil]))
    try await pool.deleteSnapshot(.sample(2), of: volume)
    try await write("write -q -P 6 12M 1M")
    #expect(try await read(3, since: 1) == Read(reading: .incremental, chunks: [4: 4, 8: 5, 900: nil]))
    let grown = 2 << 30
    try await pool.grow(volume, to: grown)
    try await write("write -q -P 7 1500M 1M")
    try await take(4)
    #expect(try await read(4, since: 3) == Read(reading: .incremental, chunks: [12: 6, 1500: 7]))
    // Behind going back everything is read: it is another image.
    try await pool.revert(volume, to: .sample(1), epoch: 1, sizeBytes: grown)
    try await take(5)
    #expect(try await read(5, since: 4) == Read(reading: .full, chunks: [0: 1, 4: 2, 900: 3]))
    #expect(try await read(5, since: 9) == Read(reading: .full, chunks: [0: 1, 4: 2, 900: 3]), "no such base")
    #expect(try await names().contains { $0.hasPrefix(RBDName.temporaryPrefix) } == false)
  }

  @Test("a new volume, or another content of one that there is, is there when all of it was written, and not before")
  func restores() async throws {
    try await pool.create(volume, sizeBytes: 16 << 20, from: nil)
    try await write("write -q -P 1 0 1M")
    try await take(1)
    let piece = [UInt8](repeating: 9, count: Self.mebibyte)
    let new = VolumeID.sample(2)
    let before = try await names()
    for target in [new, volume] {
      await #expect(throws: AgentFailure.self) {
        try await pool.restore(target, sizeBytes: 16 << 20, epoch: 1, needing: 0) { disk throws(AgentFailure) in
          try await disk.write(piece, at: 0)
          throw AgentFailure(.backupDamaged, "cut off")
        }
      }
    }
    #expect(try await pool.look(new) == .absent)
    #expect(try await reads(1, at: 0, of: volume))
    #expect(try await names() == before, "nothing is left of it")
    for (target, epoch) in [(new, 0), (volume, 1)] {
      for _ in 1...2 {
        try await pool.restore(target, sizeBytes: 16 << 20, epoch: epoch, needing: 1 << 20) {
          disk throws(AgentFailure) in try await disk.write(piece, at: 3 << 20)
        }
      }
      #expect(try await reads(9, at: 3, of: target))
      #expect(try await reads(0, at: 0, of: target))
    }
    try await pool.keep(volume, asEpoch: 2)
    guard case .whole(let stored) = try await pool.look(volume) else { throw AgentFailure(.storage, "not whole") }
    #expect(stored.epoch == 2 && stored.snapshots.map(\.id) == [.sample(1)], "snapshots stay")
    #expect(try await reads(9, at: 3, of: volume))
    for target in [new, volume] { try await pool.delete(target) }
    #expect(try await names() == [])
  }

  private enum Step: CaseIterable { case renew, restore, read, keep, delete }

  private func perform(_ step: Step, _ pool: RBDPool) async throws(AgentFailure) {
    let piece = [UInt8](repeating: 9, count: 4096)
    switch step {
    case .renew, .restore:
      try await pool.restore(volume, sizeBytes: 4 << 20, epoch: step == .renew ? 0 : 1, needing: 1) {
        disk throws(AgentFailure) in try await disk.write(piece, at: 0)
      }
    case .read:
      guard case .whole(let stored) = try await pool.look(volume) else { throw AgentFailure(.storage, "not whole") }
      if !stored.hasTaken(.sample(1)) {
        _ = try await pool.beginSnapshot(.sample(1), of: volume)
        try await pool.captureSnapshot(.sample(1), of: volume)
        try await pool.finishSnapshot(.sample(1), of: volume, takenAt: 1, quiesced: true)
      }
      let wanted = VolumeAssignment.Backup(backup: .init(UUID()), snapshot: .sample(1), chunkBytes: Self.mebibyte)
      try await pool.read(wanted, of: volume) { source throws(AgentFailure) in
        guard try await source.chunk(0).bytes[0] == 9 else { throw AgentFailure(.volumeDamaged, "it is not there") }
      }
    case .keep: try await pool.keep(volume, asEpoch: 2)
    case .delete: try await pool.delete(volume)
    }
  }

  @Test("wherever the agent dies, what is repeated comes to the same end and leaves nothing behind")
  func crashes() async throws {
    var crashes = 0
    for step in Step.allCases {
      var survives = 0
      while true {
        let left = Lock(survives)
        let mortal = RBDPool("shared", access, cache: cache, logger: quietLogger) { what throws(AgentFailure) in
          let dies = left.withLock { left in
            left -= 1
            return left < 0
          }
          if dies { throw AgentFailure(.unsupported, "died before \(what)") }
        }
        do throws(AgentFailure) {
          _ = try await mortal.look(volume)
          try await perform(step, mortal)
          // What is cleared away behind it may have been cut off without a word.
          if left.withLock({ $0 >= 0 }) { break }
        } catch { guard error.kind == .unsupported else { throw error } }
        crashes += 1
        survives += 1
      }
    }
    #expect(crashes > 15)
    try await pool.removeImages(but: [], uptime: 0)
    #expect(try await names() == [])
    #expect(try await ceph.exec("rbd", "trash", "ls", access.pool) == "")
  }

  @Test("what a process of this node has left goes at once; another node's when nobody has had it open for an hour")
  func leftovers() async throws {
    let own = RBDName.temporaryPrefix(of: try await cache.mark()) + "1"
    let (free, open) = (RBDName.temporaryPrefix(of: "x") + "1", RBDName.temporaryPrefix(of: "x") + "2")
    for image in [own, free, open] { try await pool.rbd.run("create", "--size", "1M", image) }
    let holder = try spawn(["qemu-nbd", "-t", "--format=raw", "--socket=\(directory.path)/nbd", access.qemuName(open)])
    defer {
      kill(holder, SIGKILL)
      reap(holder)
    }
    _ = try await found("the holder", within: .seconds(60)) { try await pool.isWatched(open) ? true : nil }
    let hour = 3_600_000
    try await pool.removeImages(but: [], uptime: 0)
    #expect(try await names() == [free, open])
    try await pool.removeImages(but: [], uptime: hour - 1)
    #expect(try await names() == [free, open])
    try await pool.removeImages(but: [], uptime: hour)
    #expect(try await names() == [open])
    try await pool.removeImages(but: [], uptime: 9 * hour)
    #expect(try await names() == [open], "somebody works with it")
  }
}
