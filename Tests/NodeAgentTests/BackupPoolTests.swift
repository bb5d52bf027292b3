import AloftModel
import Execution
import Foundation
import TestSupport
import Testing

@testable import NodeAgent

@Suite("What is read of a pool for backups, and restored into it")
struct BackupPoolTests {
  let directory: TemporaryDirectory
  let pool: DirectoryPool
  let volume = VolumeID.sample(1)
  private static let mebibyte = 1 << 20

  init() async throws {
    directory = try TemporaryDirectory()
    pool = try await DirectoryPool.open("test", directory.path, reserve: 0, logger: quietLogger)
    try await pool.create(volume, sizeBytes: 1 << 30, from: nil)
  }

  private func leaf(of volume: VolumeID, in pool: DirectoryPool? = nil) async throws -> String {
    guard case .whole(let stored) = try await (pool ?? self.pool).look(volume) else {
      throw AgentFailure(.storage, "not whole")
    }
    return stored.source.path
  }

  private func write(_ commands: String...) async throws {
    let path = try await leaf(of: volume)
    try await run(["qemu-io", "-f", "qcow2"] + commands.flatMap { ["-c", $0] } + [path])
  }

  private func reads(_ value: Int, at mebibyte: Int, of path: String) async -> Bool {
    let output = try? await run("qemu-io", "-r", "-f", "qcow2", "-c", "read -q -P \(value) \(mebibyte)M 1M", path)
    return output.map { !$0.contains("failed") } ?? false
  }

  private func take(_ snapshot: Int) async throws {
    _ = try await pool.beginSnapshot(.sample(snapshot), of: volume)
    try await pool.finishSnapshot(.sample(snapshot), of: volume, takenAt: 5, quiesced: true)
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

  @Test("all that is there is read once; then only what was written or discarded since, through any number of layers")
  func changes() async throws {
    try await write("write -q -P 1 0 1M", "write -q -P 2 5M 1M", "write -q -P 3 900M 1M")
    try await take(1)
    #expect(try await read(1) == Read(reading: .full, chunks: [0: 1, 5: 2, 900: 3]))
    try await write("write -q -P 4 5M 1M", "write -q -P 5 7M 64k")
    try await take(2)
    try await write("write -q -z 900M 1M")
    try await take(3)
    #expect(try await read(3, since: 1) == Read(reading: .incremental, chunks: [5: 4, 7: 5, 900: nil]))
    #expect(try await read(2, since: 1) == Read(reading: .incremental, chunks: [5: 4, 7: 5]))
    #expect(try await read(3, since: 2) == Read(reading: .incremental, chunks: [900: nil]))
    #expect(try await read(3, since: 3) == Read(reading: .incremental), "nothing differs from itself")
    #expect(try await read(3) == Read(reading: .full, chunks: [0: 1, 5: 4, 7: 5]))

    // What a guest has written last is none of it; a layer below may have become one with another.
    try await write("write -q -P 6 8M 1M")
    try await pool.deleteSnapshot(.sample(2), of: volume)
    guard case .whole(let stored) = try await pool.look(volume), let merge = stored.merge else {
      Issue.record("nothing is to be merged")
      return
    }
    try await pool.merge(merge)
    #expect(try await read(3, since: 1) == Read(reading: .incremental, chunks: [5: 4, 7: 5, 900: nil]))
  }

  @Test(
    "behind going back to what was before the base everything is read; a volume that grew is read behind its old end")
  func otherBranches() async throws {
    try await write("write -q -P 1 0 1M")
    try await take(1)
    try await write("write -q -P 2 0 1M")
    try await take(2)
    try await pool.revert(volume, to: .sample(1), epoch: 1, sizeBytes: 1 << 30)
    try await pool.grow(volume, to: 2 << 30)
    try await write("write -q -P 3 1500M 1M")
    try await take(3)
    #expect(try await read(3, since: 2) == Read(reading: .full, chunks: [0: 1, 1500: 3]))
    #expect(try await read(3, since: 1) == Read(reading: .incremental, chunks: [1500: 3]))
    #expect(try await read(3, since: 9) == Read(reading: .full, chunks: [0: 1, 1500: 3]), "the base is not there")
  }

  @Test("what a volume has grown by is not read where nothing was written, through any number of layers")
  func growth() async throws {
    try await write("write -q -P 1 0 1M")
    try await take(1)
    try await write("write -q -P 2 1M 1M")
    try await take(2)
    try await pool.grow(volume, to: 2 << 30)
    try await take(3)
    try await write("write -q -P 3 1500M 1M")
    try await take(4)
    for base in [1, 2, 3] {
      let wanted = VolumeAssignment.Backup(
        backup: BackupID(UUID()), snapshot: .sample(4), base: .sample(base), chunkBytes: Self.mebibyte)
      let bytes = Lock(0)
      try await pool.read(wanted, of: volume) { source throws(AgentFailure) in
        var count = 0
        for index in try await source.changed() { count += try await source.chunk(index).bytes.count }
        let whole = count
        bytes.withLock { $0 = whole }
      }
      #expect(bytes.withLock { $0 } == (base == 1 ? 2 : 1) * Self.mebibyte, "since \(base)")
    }
  }

  @Test("a new volume, or another content of one that there is, is there when all of it was written, and not before")
  func restores() async throws {
    try await write("write -q -P 1 0 1M")
    try await take(1)
    let piece = [UInt8](repeating: 9, count: Self.mebibyte)
    let new = VolumeID.sample(2)
    struct Stop: Error {}
    for target in [new, volume] {
      await #expect(throws: AgentFailure.self) {
        try await pool.restore(target, sizeBytes: 1 << 30, epoch: 1, needing: 0) { disk throws(AgentFailure) in
          try await disk.write(piece, at: 0)
          throw AgentFailure(.backupDamaged, "cut off")
        }
      }
    }
    #expect(try await pool.look(new) == .absent)
    #expect(await reads(1, at: 0, of: try await leaf(of: volume)))
    #expect(FileSystem.names(in: directory.path + "/layers").count == 2, "nothing is left of it")
    for (target, epoch) in [(new, 0), (volume, 1)] {
      try await pool.restore(target, sizeBytes: 1 << 30, epoch: epoch, needing: 1 << 20) { disk throws(AgentFailure) in
        try await disk.write(piece, at: 3 << 20)
      }
      let path = try await leaf(of: target)
      #expect(await reads(9, at: 3, of: path))
      #expect(await reads(0, at: 0, of: path))
    }
    // It is repeated without harm.
    try await pool.restore(volume, sizeBytes: 1 << 30, epoch: 1, needing: 0) { disk throws(AgentFailure) in
      try await disk.write(piece, at: 0)
    }
    #expect(await reads(0, at: 0, of: try await leaf(of: volume)))
    try await pool.keep(volume, asEpoch: 2)
    let again = try await DirectoryPool.open("test", directory.path, reserve: 0, logger: quietLogger)
    guard case .whole(let stored) = try await again.look(volume) else {
      Issue.record("not whole")
      return
    }
    #expect(stored.epoch == 2 && stored.snapshots.map(\.id) == [.sample(1)], "snapshots stay")
    #expect(await reads(9, at: 3, of: stored.source.path))
  }

  @Test("a file that is no layer is told with what the program says")
  func damage() async throws {
    let path = directory.path + "/nothing,here.qcow2"
    try Data(repeating: 1, count: 4096).write(to: URL(fileURLWithPath: path))
    await #expect(throws: AgentFailure.self) {
      _ = try await NBDDisk.open(path, in: directory.path, isWritable: false)
    }
    #expect(FileSystem.names(in: directory.path).filter { $0.hasPrefix(".nbd") } == [])
  }
}
