import AloftModel
import CephTestSupport
import Crypto
import Execution
import Foundation
import Glibc
import TestSupport
import Testing

@testable import NodeAgent

@Suite("RBD pool", .enabled(if: PrivateCeph.isInstalled, "\(PrivateCeph.missing)"))
struct RBDPoolTests {
  let directory: TemporaryDirectory
  let cache: DirectoryPool
  let ceph: PrivateCeph
  let access: CephAccess
  let pool: RBDPool
  let volume = VolumeID.sample(1)

  init() async throws {
    directory = try TemporaryDirectory()
    cache = try await DirectoryPool.open("local", directory.path, reserve: 0, logger: quietLogger)
    ceph = try await PrivateCeph.shared()
    access = try await ceph.access()
    pool = RBDPool("shared", access, cache: cache, logger: quietLogger)
  }

  private func stored(_ volume: VolumeID) async throws -> StoredVolume {
    let look = try await pool.look(volume)
    guard case .whole(let stored) = look else { throw AgentFailure(.storage, "\(volume) is \(look)") }
    return stored
  }

  private func file(_ volume: VolumeID) async throws -> String {
    access.qemuName(String(try await stored(volume).source.path.split(separator: "/").last ?? ""))
  }

  private func write(_ value: Int, to volume: VolumeID) async throws {
    try await run("qemu-io", "-f", "raw", "-c", "write -q -P \(value) 0 1M", try await file(volume))
  }

  private func reads(_ value: Int, _ volume: VolumeID) async throws -> Bool {
    let file = try await file(volume)
    return (try? await run("qemu-io", "-r", "-f", "raw", "-c", "read -q -P \(value) 0 1M", file)) != nil
  }

  private func take(_ snapshot: Int, of volume: VolumeID) async throws {
    _ = try await pool.beginSnapshot(.sample(snapshot), of: volume)
    try await pool.captureSnapshot(.sample(snapshot), of: volume)
    try await pool.finishSnapshot(.sample(snapshot), of: volume, takenAt: 5, quiesced: true)
  }

  private func names() async throws -> [String] {
    try await ceph.exec("rbd", "ls", access.pool).split(separator: "\n").map(String.init)
  }

  @Test("a volume is made once, grows, and goes without a trace; the pool tells its size")
  func life() async throws {
    #expect(try await pool.look(volume) == .absent)
    try await pool.create(volume, sizeBytes: 4 << 20, from: nil)
    try await pool.create(volume, sizeBytes: 8 << 20, from: nil)
    #expect(try await stored(volume).sizeBytes == 4 << 20)
    try await pool.grow(volume, to: 16 << 20)
    try await pool.grow(volume, to: 8 << 20)
    #expect(try await stored(volume).sizeBytes == 16 << 20)
    try await write(7, to: volume)
    #expect(try await stored(volume).usedBytes > 0)
    // The cluster counts some seconds later.
    let status = try await found("the cluster's count") {
      await pool.lookAtCluster()
      let status = await pool.status()
      return status.problem == nil && status.usedBytes > 0 ? status : nil
    }
    #expect(status.kind == .rbd && status.freeBytes > 0 && status.totalBytes == status.freeBytes + status.usedBytes)
    try await pool.delete(volume)
    try await pool.delete(volume)
    #expect(try await pool.look(volume) == .absent)
    #expect(try await names() == [])
  }

  @Test("snapshots, reverts and clones hold what they held, and go in any order; nothing is left in the end")
  func anyOrder() async throws {
    try await pool.create(volume, sizeBytes: 4 << 20, from: nil)
    try await write(1, to: volume)
    try await take(1, of: volume)
    try await write(2, to: volume)
    try await take(2, of: volume)
    try await write(3, to: volume)
    try await pool.revert(volume, to: .sample(1), epoch: 1, sizeBytes: 4 << 20)
    #expect(try await reads(1, volume))
    #expect(try await stored(volume).epoch == 1)
    try await pool.revert(volume, to: .sample(1), epoch: 1, sizeBytes: 4 << 20)
    try await write(4, to: volume)
    try await take(3, of: volume)
    let clone = VolumeID.sample(2)
    try await pool.create(clone, sizeBytes: 8 << 20, from: .init(snapshot: .sample(2), of: volume))
    #expect(try await reads(2, clone))
    #expect(try await stored(clone).sizeBytes == 8 << 20)
    await #expect(throws: AgentFailure.self) {
      try await pool.create(.sample(3), sizeBytes: 1 << 20, from: .init(snapshot: .sample(2), of: volume))
    }
    #expect(try await pool.look(.sample(3)) == .absent, "half made is not there")
    #expect(try await stored(volume).snapshots.map(\.id) == [.sample(1), .sample(2), .sample(3)])
    try await pool.deleteSnapshot(.sample(2), of: volume)
    try await pool.deleteSnapshot(.sample(1), of: volume)
    #expect(try await reads(4, volume))
    #expect(try await reads(2, clone))
    try await pool.revert(volume, to: .sample(3), epoch: 5, sizeBytes: 4 << 20)
    try await pool.delete(volume)
    #expect(try await pool.look(volume) == .absent)
    #expect(try await reads(2, clone), "what it was cloned from is kept for it")
    try await pool.delete(clone)
    #expect(try await names() == [])
    try await pool.removeImages(but: [], uptime: 0)
    try await pool.removeImages(but: [], uptime: 1)
    #expect(try await ceph.exec("rbd", "trash", "ls", access.pool) == "")
  }

  @Test("a snapshot that was begun and not finished is taken anew, and counts as taken when it is finished")
  func begun() async throws {
    try await pool.create(volume, sizeBytes: 4 << 20, from: nil)
    try await write(1, to: volume)
    _ = try await pool.beginSnapshot(.sample(1), of: volume)
    try await pool.captureSnapshot(.sample(1), of: volume)
    try await write(2, to: volume)
    // Another process goes on.
    let other = RBDPool("shared", access, cache: cache, logger: quietLogger)
    #expect(try await stored(volume).snapshots.map(\.takenAt) == [nil])
    _ = try await other.beginSnapshot(.sample(1), of: volume)
    try await other.captureSnapshot(.sample(1), of: volume)
    try await other.finishSnapshot(.sample(1), of: volume, takenAt: 9, quiesced: false)
    #expect(try await stored(volume).snapshots == [.init(id: .sample(1), takenAt: 9, quiesced: false)])
    try await pool.revert(volume, to: .sample(1), epoch: 1, sizeBytes: 4 << 20)
    #expect(try await reads(2, volume))
  }

  private enum Step: CaseIterable { case create, snapshot, clone, revert, deleteSnapshot, delete, deleteClone }

  private func perform(_ step: Step, _ pool: RBDPool) async throws(AgentFailure) {
    let clone = VolumeID.sample(2)
    switch step {
    case .create: try await pool.create(volume, sizeBytes: 4 << 20, from: nil)
    case .snapshot:
      guard case .whole(let stored) = try await pool.look(volume) else { throw AgentFailure(.storage, "not whole") }
      guard !stored.hasTaken(.sample(1)) else { return }
      _ = try await pool.beginSnapshot(.sample(1), of: volume)
      try await pool.captureSnapshot(.sample(1), of: volume)
      try await pool.finishSnapshot(.sample(1), of: volume, takenAt: 1, quiesced: true)
    case .clone: try await pool.create(clone, sizeBytes: 8 << 20, from: .init(snapshot: .sample(1), of: volume))
    case .revert: try await pool.revert(volume, to: .sample(1), epoch: 1, sizeBytes: 4 << 20)
    case .deleteSnapshot: try await pool.deleteSnapshot(.sample(1), of: volume)
    case .delete: try await pool.delete(volume)
    case .deleteClone: try await pool.delete(clone)
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
          break
        } catch {
          guard error.kind == .unsupported else { throw error }
          crashes += 1
          survives += 1
        }
      }
    }
    #expect(crashes > 15)
    #expect(try await names() == [])
    try await pool.removeImages(but: [], uptime: 0)
    #expect(try await ceph.exec("rbd", "trash", "ls", access.pool) == "")
  }

  @Test("what a guest of any host has open is known, and is not deleted before the guest is cut off")
  func open() async throws {
    try await pool.create(volume, sizeBytes: 4 << 20, from: nil)
    try await take(1, of: volume)
    #expect(try await pool.isOpen(volume) == false)
    let name = String(try await stored(volume).source.path.split(separator: "/").last ?? "")
    let writer = try spawn(["qemu-nbd", "--format=raw", "--socket=\(directory.path)/nbd", access.qemuName(name)])
    defer {
      kill(writer, SIGKILL)
      reap(writer)
    }
    _ = try await found("the writer", within: .seconds(60)) { try await pool.isOpen(volume) ? true : nil }
    await #expect { try await pool.delete(volume) } throws: { ($0 as? AgentFailure)?.kind == .volumeInUse }
    #expect(try await stored(volume).snapshots.count == 1)
    let other = RBDPool("shared", try await otherClient(), cache: cache, logger: quietLogger)
    #expect(try await other.fence(volume).count == 1)
    #expect(try await other.isOpen(volume) == false)
    #expect(try await other.fence(volume) == [])
    try await other.delete(volume)
    #expect(try await names() == [])
  }

  /// As another node reaches the pool.
  private func otherClient() async throws -> CephAccess {
    let name = access.client + "b"
    let keyring = try await ceph.client(name, of: access.pool)
    return CephAccess(pool: access.pool, client: name, configuration: access.configuration, keyring: keyring)
  }

  @Test("an image comes into the pool once, whoever brings it, and goes when nothing has needed it for an hour")
  func images() async throws {
    let content = [UInt8](repeating: 3, count: 4 << 20)
    var image = Assignment.BaseImage.sample
    image.format = .raw
    image.sha256 = SHA256.hash(data: content).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    image.sizeBytes = content.count
    let wanted = image
    let source: ImageSource = { _, descriptor, onBytes, _ throws(AgentFailure) in
      onBytes(content)
      _ = content.withUnsafeBytes { pwrite(descriptor, $0.baseAddress, $0.count, 0) }
    }
    let there = try await otherClient()
    let otherDirectory = try TemporaryDirectory()
    let other = RBDPool(
      "shared", there,
      cache: try await DirectoryPool.open("local", otherDirectory.path, reserve: 0, logger: quietLogger),
      logger: quietLogger)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for pool in [pool, other] { group.addTask { try await pool.fetch(wanted, from: source, progress: { _ in }) } }
      try await group.waitForAll()
    }
    #expect(try await names() == [RBDName.image(image.sha256)])
    #expect(await pool.hasImage(image.sha256.uppercased()))
    try await other.create(volume, sizeBytes: 8 << 20, from: .init(image: image))
    #expect(try await reads(3, volume))
    #expect(try await stored(volume).sizeBytes == 8 << 20)
    let hour = 3_600_000
    try await pool.removeImages(but: [], uptime: 0)
    try await pool.removeImages(but: [], uptime: hour)
    #expect(await pool.hasImage(image.sha256), "a volume lies over it")
    try await pool.delete(volume)
    try await pool.removeImages(but: [image.sha256], uptime: hour + 1)
    try await pool.removeImages(but: [], uptime: hour + 2)
    #expect(await pool.hasImage(image.sha256))
    try await pool.removeImages(but: [], uptime: 2 * hour + 2)
    #expect(try await names() == [])
    withExtendedLifetime(otherDirectory) {}
  }

  @Test("images do not lie under each other without end")
  func depth() async throws {
    let pool = RBDPool("shared", access, cache: cache, logger: quietLogger, maximumDepth: 3)
    try await pool.create(volume, sizeBytes: 1 << 20, from: nil)
    var depths: [Int] = []
    for epoch in 1...3 {
      try await take(epoch, of: volume)
      try await pool.revert(volume, to: .sample(epoch), epoch: epoch, sizeBytes: 1 << 20)
      if epoch > 1 { try await pool.deleteSnapshot(.sample(epoch - 1), of: volume) }
      depths.append(try await stored(volume).depth)
    }
    #expect(depths == [2, 3, 1])
  }

  @Test("a helper that dies is replaced: what changes nothing is asked again, and what was not begun is done")
  func helperDies() async throws {
    let images = RBDImages(access: access)
    try await images.create("first", sizeBytes: 1 << 20)
    for _ in 1...2 {
      let helper = try #require(images.idle.withLock { $0.first })
      kill(helper.process, SIGKILL)
      #expect(try await images.names().contains("first"))
    }
    let helper = try #require(images.idle.withLock { $0.first })
    kill(helper.process, SIGKILL)
    try await eventually("it has ended") { hasEnded(helper.process) }
    try await images.create("second", sizeBytes: 1 << 20)
    #expect(try await images.names().contains("second"))
    #expect(try await images.usage(of: "third") == nil)
    // What it holds may be larger than what is read at a time.
    let text = String(repeating: "x", count: 20_000)
    try await images.setMetadata("note", to: text, of: "first")
    #expect(try await images.metadata("note", of: "first") == text)
    #expect(try await images.metadata("other", of: "first") == nil)
  }

  /// A process that nobody has waited for, with all of its threads.
  private func hasEnded(_ process: pid_t) -> Bool {
    let stat = (try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8)) ?? ""
    let threads = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/task")) ?? []
    return stat.split(separator: " ").dropFirst(2).first == "Z" && threads.count == 1
  }

  @Test("a cluster that does not answer is a problem of the pool, and the client's key is in no message")
  func unreachable() async throws {
    let wrong = CephAccess(
      pool: "none", client: access.client, configuration: access.configuration, keyring: access.keyring)
    let lost = RBDPool("lost", wrong, cache: cache, logger: quietLogger)
    await lost.lookAtCluster()
    #expect(await lost.status().problem?.contains("no pool none") == true)
    let key = Data(try access.key()).base64EncodedString()
    await #expect {
      _ = try await lost.look(volume)
      _ = try await lost.create(volume, sizeBytes: 1 << 20, from: nil)
    } throws: { !"\($0)".contains(key) }
  }
}
