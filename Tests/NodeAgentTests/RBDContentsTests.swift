import AloftModel
import CephTestSupport
import Execution
import TestSupport
import Testing

@testable import NodeAgent

@Suite("What is in a pool in Ceph that nothing explains", .enabled(if: PrivateCeph.isInstalled))
struct RBDContentsTests {
  let directory: TemporaryDirectory
  let cache: DirectoryPool
  let ceph: PrivateCeph
  let access: CephAccess
  let pool: RBDPool
  /// What the cloud knows; each look changes nothing of it.
  let known = Lock((volumes: Set<VolumeID>(), snapshots: Set<SnapshotID>()))
  /// How often a look has asked.
  let asked = Lock(0)

  init() async throws {
    directory = try TemporaryDirectory()
    cache = try await DirectoryPool.open("local", directory.path, reserve: 0, logger: quietLogger)
    ceph = try await PrivateCeph.shared()
    access = try await ceph.access()
    pool = RBDPool("shared", access, cache: cache, logger: quietLogger)
  }

  private func look(
    at uptime: Int = 0, then: @escaping @Sendable () async throws(AgentFailure) -> Void = { () throws(AgentFailure) in }
  ) async throws -> [String] {
    let (known, asked) = (known, asked)
    return try await pool.findings(uptime: uptime) { contents throws(AgentFailure) in
      asked.withLock { $0 += 1 }
      let answer = known.withLock { known in
        SharedPoolDifferences(
          unknownVolumes: contents.volumes.filter { !known.volumes.contains($0) },
          unknownSnapshots: contents.snapshots.filter { !known.snapshots.contains($0) },
          missing: known.volumes.subtracting(contents.volumes).sorted { $0.description < $1.description })
      }
      try await then()
      return answer
    }
  }

  private func take(_ snapshot: Int, of volume: VolumeID) async throws {
    _ = try await pool.beginSnapshot(.sample(snapshot), of: volume)
    try await pool.captureSnapshot(.sample(snapshot), of: volume)
    try await pool.finishSnapshot(.sample(snapshot), of: volume, takenAt: 5, quiesced: true)
  }

  @Test("volumes, images, snapshots and what lies in the trash are told if neither the cloud nor a manifest knows them")
  func unexplained() async throws {
    let volume = VolumeID.sample(1)
    known.withLock { $0 = ([volume], [.sample(1)]) }
    try await pool.create(volume, sizeBytes: 4 << 20, from: nil)
    try await take(1, of: volume)
    try await take(2, of: volume)
    try await pool.revert(volume, to: .sample(1), epoch: 1, sizeBytes: 4 << 20)
    // A snapshot that the cloud does not want any more and the manifest still names is about to go.
    #expect(try await look() == [])

    try await pool.create(.sample(2), sizeBytes: 4 << 20, from: nil)
    try await pool.rbd.run("create", "--size", "1M", "aloft.notes")
    try await pool.rbd.run("create", "--size", "1M", "mine")
    try await pool.rbd.run("create", "--size", "1M", RBDName.data(volume, 7))
    try await pool.rbd.run("snap", "create", "--no-progress", "\(RBDName.data(volume, 1))@strange")
    try await pool.rbd.run("create", "--size", "1M", RBDName.temporaryPrefix(of: "other") + "1")
    try await pool.rbd.run("create", "--size", "1M", "aloft.thrown")
    try await pool.rbd.run("snap", "create", "--no-progress", "aloft.thrown@away")
    try await pool.rbd.run("trash", "mv", "aloft.thrown")
    #expect(try await look(at: 1) == [], "what was looked at a moment ago and was in order is not looked at again")
    let hour = 3_600_000
    #expect(
      try await look(at: hour) == [
        "image aloft.notes in pool shared", "image aloft.\(volume).7 in pool shared",
        "snapshot aloft.\(volume).1@strange in pool shared", "volume \(VolumeID.sample(2)) in pool shared",
        "image aloft.thrown in the trash of pool shared",
      ])
    #expect(try await look(at: hour + 1).count == 5, "what was found is looked at again")
    // Tidying leaves all of it alone.
    try await pool.removeImages(but: [], uptime: 0)
    #expect(try await look(at: hour + 2).count == 5)
  }

  @Test(
    "a volume of which nothing is there is told, also one whose record is lost; one that was deleted meanwhile is not")
  func missing() async throws {
    let (lost, gone, bare) = (VolumeID.sample(1), VolumeID.sample(2), VolumeID.sample(3))
    known.withLock { $0.volumes = [lost, gone, bare] }
    try await pool.create(bare, sizeBytes: 4 << 20, from: nil)
    try await pool.discard(RBDName.record(bare))
    let known = known
    // The cloud lets go of it while the node looks.
    @Sendable func forget() async throws(AgentFailure) { known.withLock { _ = $0.volumes.remove(gone) } }
    let found = try await look(then: forget)
    #expect(found == ["image aloft.\(bare).0 in pool shared", "nothing of volume \(lost) in pool shared"])
    #expect(asked.withLock { $0 } == 2)
  }

  @Test("what is made or deleted while a node looks is not told")
  func meanwhile() async throws {
    let (made, deleted) = (VolumeID.sample(1), VolumeID.sample(2))
    try await pool.create(deleted, sizeBytes: 4 << 20, from: nil)
    let (pool, known) = (pool, known)
    // All of a deleted volume is gone before its row is: here it goes behind the list that showed it.
    @Sendable func work() async throws(AgentFailure) {
      try await pool.delete(deleted)
      known.withLock { _ = $0.volumes.insert(made) }
      try await pool.create(made, sizeBytes: 4 << 20, from: nil)
    }
    let found = try await look(then: work)
    #expect(found == [])
  }
}
