import AloftModel
import Testing

@testable import NodeAgent

@Suite("Plan of a volume that goes to another pool")
struct VolumeMovePlanTests {
  private static let old = DiskSource.file("/old/leaf")
  private static let new = DiskSource.file("/new/leaf")

  private func document(isGivenUp: Bool = false, deleted: Bool = false) -> VolumeAssignment {
    var document = VolumeAssignment.sample(deleted: deleted, vm: .sample(1))
    document.isMade = true
    document.move = .init(pool: "fast", isGivenUp: isGivenUp)
    return document
  }

  private func actual(
    _ move: ActualMove, use: VolumeUse, snapshots: [StoredVolume.Snapshot] = [], isMerging: Bool = false,
    merge: LayerMerge? = nil
  ) -> ActualVolume {
    let stored = StoredVolume(
      sizeBytes: 1 << 30, snapshots: snapshots, source: move.isThere ? Self.new : Self.old, merge: merge)
    return ActualVolume(look: .whole(stored), use: use, canMerge: true, isMerging: isMerging, move: move)
  }

  private func guest(on source: DiskSource) -> VolumeUse {
    .guest(DomainDisk(volume: .sample(1), source: source, target: "vda"))
  }

  private func plan(_ desired: VolumeAssignment, _ actual: ActualVolume) -> VolumePlan {
    VolumePlan.make(desired, actual, now: 1_000, usual: 301_000)
  }

  @Test("at rest it is copied; what is left of it goes as soon as the copy counts; then it is in one pool")
  func atRest() {
    #expect(plan(document(), actual(ActualMove(), use: .nobody)).steps == [.copy(to: "fast")])
    // What a guest that has ended had been copied to is no beginning.
    let begun = ActualMove(copy: Self.new)
    #expect(plan(document(), actual(begun, use: .nobody)).steps == [.copy(to: "fast")])
    let there = actual(ActualMove(isThere: true, isLeft: true), use: .nobody)
    #expect(plan(document(), there).steps == [.leavePool("local")])
    #expect(document().settledPool(there) == nil)
    let done = actual(ActualMove(isThere: true), use: .nobody)
    #expect(plan(document(), done).steps == [])
    #expect(document().settledPool(done) == "fast")
  }

  @Test("a guest's QEMU copies it, and is waited for; the guest goes over when both have the same")
  func underGuest() {
    let use = guest(on: Self.old)
    #expect(plan(document(), actual(ActualMove(), use: use)).steps == [.beginCopy(to: "fast")])
    let busy = ActualMove(copy: Self.new, job: CopyJob(done: 1, total: 5, isReady: false))
    let waiting = plan(document(), actual(busy, use: use))
    #expect(waiting.steps == [] && waiting.wakeAt == 2_000 && waiting.activity == "copying to pool fast")
    let ready = ActualMove(copy: Self.new, job: CopyJob(done: 5, total: 5, isReady: true))
    #expect(plan(document(), actual(ready, use: use)).steps == [.finishCopy(to: "fast")])
    // It failed, or an agent died before it began.
    let failed = ActualMove(copy: Self.new)
    #expect(plan(document(), actual(failed, use: use)).steps == [.discardCopy(in: "fast")])
  }

  @Test("a guest that runs on a copy that does not count makes it count, whatever is wanted by now")
  func cutOff() {
    for isGivenUp in [false, true] {
      let seen = actual(ActualMove(copy: Self.new), use: guest(on: Self.new))
      #expect(plan(document(isGivenUp: isGivenUp), seen).steps == [.finishCopy(to: "fast")])
    }
    let left = actual(ActualMove(isThere: true, isLeft: true), use: guest(on: Self.new))
    #expect(plan(document(isGivenUp: true), left).steps == [.leavePool("local")])
    #expect(document(isGivenUp: true).settledPool(actual(ActualMove(isThere: true), use: .nobody)) == "fast")
  }

  @Test("a guest on the old copy of what counts elsewhere is told of, and nothing is deleted")
  func contradiction() {
    let plan = plan(document(), actual(ActualMove(isThere: true, isLeft: true), use: guest(on: Self.old)))
    #expect(plan.steps == [] && plan.problem?.code == .volumeDamaged)
  }

  @Test("a move that is given up ends when nothing of the copy is left")
  func givenUp() {
    let document = document(isGivenUp: true)
    for use in [VolumeUse.nobody, guest(on: Self.old)] {
      let begun = actual(ActualMove(copy: Self.new, job: CopyJob(done: 1, total: 5, isReady: true)), use: use)
      #expect(plan(document, begun).steps == [.discardCopy(in: "fast")])
      #expect(document.settledPool(begun) == nil)
      let clean = actual(ActualMove(), use: use)
      #expect(plan(document, clean).steps == [])
      #expect(document.settledPool(clean) == "local")
    }
    let open = plan(document, actual(ActualMove(copy: Self.new), use: .other))
    #expect(open.steps == [] && open.wakeAt != nil)
  }

  @Test("snapshots that are to go, and merging that is under way, come first; what could be merged is not")
  func before() {
    let snapshot = StoredVolume.Snapshot(id: .sample(1), takenAt: 1, quiesced: false)
    let last = plan(document(), actual(ActualMove(), use: .nobody, snapshots: [snapshot]))
    #expect(last.steps == [.deleteSnapshot(.sample(1))])
    let merge = VolumePlanTests.merge
    let merging = plan(document(), actual(ActualMove(), use: guest(on: Self.old), isMerging: true, merge: merge))
    #expect(merging.steps == [] && merging.wakeAt != nil)
    #expect(plan(document(), actual(ActualMove(), use: .nobody, merge: merge)).steps == [.copy(to: "fast")])
  }

  @Test("deleting wins, and waits for what is in either pool")
  func deletion() {
    let desired = document(deleted: true)
    #expect(plan(desired, actual(ActualMove(copy: Self.new), use: .nobody)).steps == [.delete])
    var left = ActualVolume(look: .absent, use: .nobody, move: ActualMove(copy: Self.new))
    #expect(plan(desired, left).steps == [.delete])
    left.move = ActualMove()
    #expect(plan(desired, left) == VolumePlan())
  }
}
