import AloftModel
import Testing

@testable import NodeAgent

@Suite("Plan of a volume")
struct VolumePlanTests {
  static let leaf = DiskSource.file("/leaf")
  static let below = DiskSource.file("/below")
  static let image = VolumeAssignment.Source(image: .sample)

  static let merge = LayerMerge(
    layer: "a", child: "b", layerSource: .file("/a"), childSource: .file("/b"), volumes: [.sample(1)], tops: [])

  func stored(
    _ snapshots: [Int] = [], begun: [Int] = [], epoch: Int = 0, mib: Int = 1024, merge: LayerMerge? = nil
  ) -> StoredVolume {
    StoredVolume(
      epoch: epoch, sizeBytes: mib << 20,
      snapshots: snapshots.map { .init(id: .sample($0), takenAt: 1, quiesced: false) }
        + begun.map { .init(id: .sample($0), takenAt: nil, quiesced: false) },
      source: Self.leaf, below: Self.below, earlier: begun.isEmpty ? [] : [Self.below], merge: merge)
  }

  func plan(
    _ desired: VolumeAssignment, _ stored: StoredVolume?, use: VolumeUse = .nobody,
    partners: [VolumeID: Set<SnapshotID>] = [:], hasImage: Bool = false, canMerge: Bool = true
  ) -> VolumePlan {
    VolumePlan.make(
      desired,
      ActualVolume(look: stored.map(VolumeLook.whole) ?? .absent, hasImage: hasImage, use: use, canMerge: canMerge),
      partners: partners, now: 1_000, usual: 301_000)
  }

  func guest(on source: DiskSource = leaf) -> VolumeUse {
    .guest(DomainDisk(volume: .sample(1), source: source, target: "vda"))
  }

  @Test("a volume is made from nothing, an image that is fetched before, or a snapshot")
  func creation() {
    #expect(plan(.sample(), nil).steps == [.create])
    let sha256 = Assignment.BaseImage.sample.sha256
    #expect(plan(.sample(source: Self.image), nil).steps == [.ensureImage(sha256: sha256), .create])
    #expect(plan(.sample(source: Self.image), nil, hasImage: true).steps == [.create])
    #expect(plan(.sample(source: .init(snapshot: .sample(4), of: .sample(2))), nil).steps == [.create])
    #expect(plan(.sample(), stored()).steps == [])
  }

  @Test("a clone waits for the snapshot that is still to be taken")
  func awaited() {
    let clone = VolumeAssignment.sample(source: .init(snapshot: .sample(4), of: .sample(2), isAwaited: true))
    let waiting = plan(clone, nil)
    #expect(waiting.steps == [] && waiting.wakeAt == 3_000 && waiting.activity?.contains("cloned") == true)
    #expect(VolumePlan.make(clone, ActualVolume(isSourceSettled: true), now: 0, usual: 9).steps == [.create])
  }

  @Test("what was made and is missing, and what is damaged, is told of and not made anew")
  func lost() {
    var made = VolumeAssignment.sample(source: Self.image)
    made.isMade = true
    for desired in [made, .sample(snapshots: [.sample(1, taken: true)]), .sample(epoch: 1, base: .sample(1))] {
      let plan = plan(desired, nil)
      #expect(plan.steps == [] && plan.problem?.code == .volumeDamaged)
    }
    let plan = VolumePlan.make(.sample(), ActualVolume(look: .damaged("a layer is missing")), now: 0, usual: 9)
    #expect(plan.steps == [] && plan.problem?.detail.contains("a layer is missing") == true)
    let snapshot = self.plan(.sample(snapshots: [.sample(1, taken: true)]), stored())
    #expect(snapshot.steps == [] && snapshot.problem?.code == .volumeDamaged)
  }

  @Test("it is deleted, reverted and merged when nobody has it open, and waits until then")
  func open() {
    let merge = Self.merge
    let cases: [(VolumeAssignment, StoredVolume, VolumeStep)] = [
      (.sample(deleted: true), stored(), .delete),
      (.sample(snapshots: [.sample(1)], epoch: 2, base: .sample(1)), stored([1]), .revert(to: .sample(1), epoch: 2)),
      (.sample(), stored(merge: merge), .merge(merge)),
    ]
    for (desired, stored, step) in cases {
      #expect(plan(desired, stored).steps == [step])
      for use in [guest(), .other] {
        let plan = plan(desired, stored, use: use)
        #expect(plan.steps == [] && plan.wakeAt != nil)
      }
    }
    #expect(plan(.sample(), stored(merge: merge), canMerge: false).steps == [])
    #expect(plan(.sample(deleted: true), nil) == VolumePlan())
  }

  @Test("going back needs a snapshot that was taken; an older document goes nowhere")
  func revert() {
    let desired = VolumeAssignment.sample(snapshots: [.sample(1)], epoch: 1, base: .sample(1))
    #expect(plan(desired, stored()).problem?.code == .volumeDamaged)
    #expect(plan(desired, stored(begun: [1])).problem?.code == .volumeDamaged)
    #expect(plan(.sample(mib: 4096), stored([3], epoch: 1)).steps == [])
  }

  @Test("it grows and never shrinks, also under its guest, not under a stranger's")
  func size() {
    let larger = VolumeAssignment.sample(mib: 2048)
    #expect(plan(larger, stored()).steps == [.grow(to: 2048 << 20)])
    #expect(plan(larger, stored(), use: guest()).steps == [.grow(to: 2048 << 20)])
    #expect(plan(larger, stored(), use: .other).steps == [])
    #expect(plan(.sample(mib: 512), stored()).steps == [])
  }

  @Test("snapshots are taken, of several volumes when all can; those that nobody wants go")
  func snapshots() {
    let one = VolumeAssignment.sample(snapshots: [.sample(1)])
    let take = VolumeStep.takeSnapshot(.sample(1), of: [.sample(1)], quiesce: false)
    #expect(plan(one, stored()).steps == [take])
    #expect(plan(one, stored(), use: guest()).steps == [take])
    #expect(plan(one, stored(), use: .other).steps == [])
    #expect(plan(.sample(), stored([1, 2])).steps == [.deleteSnapshot(.sample(1)), .deleteSnapshot(.sample(2))])
    let group = VolumeAssignment.sample(snapshots: [.sample(1, of: [.sample(2), .sample(1)], quiesce: true)])
    #expect(plan(group, stored()).steps == [] && plan(group, stored()).activity != nil)
    #expect(
      plan(group, stored(), partners: [.sample(2): [.sample(1)]]).steps
        == [.takeSnapshot(.sample(1), of: [.sample(1), .sample(2)], quiesce: true)])
  }

  @Test("a snapshot that was begun is finished if it is wanted; else the guest is given the newest layer first")
  func begun() {
    let wanted = VolumeAssignment.sample(snapshots: [.sample(1)])
    let take = VolumeStep.takeSnapshot(.sample(1), of: [.sample(1)], quiesce: false)
    #expect(plan(wanted, stored(begun: [1]), use: guest(on: Self.below)).steps == [take])
    #expect(plan(wanted, stored(begun: [1])).steps == [take])
    #expect(plan(.sample(), stored(begun: [1]), use: guest(on: Self.below)).steps == [.catchUp])
    #expect(plan(.sample(), stored(begun: [1]), use: guest()).steps == [.deleteSnapshot(.sample(1))])
    let strange = plan(.sample(), stored(), use: guest(on: .file("/elsewhere")))
    #expect(strange.steps == [] && strange.problem?.code == .volumeDamaged)
  }

  @Test("the layer under the newest is merged while the guest runs, and while that goes on nothing else is done")
  func pull() {
    var merge = Self.merge
    merge.childSource = Self.leaf
    #expect(plan(.sample(), stored(merge: merge), use: guest()).steps == [.pull(merge)])
    let busy = VolumePlan.make(
      .sample(mib: 4096, snapshots: [.sample(1)]),
      ActualVolume(look: .whole(stored(merge: merge)), use: guest(), isMerging: true), now: 0, usual: 300_000)
    #expect(busy.steps == [] && busy.wakeAt == VolumePlan.mergeLook)
  }

  @Test("what QEMU has merged is written down before anything else, or is undone when the guest has ended")
  func settle() {
    var merge = Self.merge
    merge.childSource = Self.leaf
    var stored = stored(merge: merge)
    stored.pull = LayerPull(merge: merge, isCopied: false)
    #expect(plan(.sample(), stored, use: guest()).steps == [.pull(merge)])
    #expect(plan(.sample(), stored).steps == [.undoPull(merge)])
    stored.pull?.isCopied = true
    let wanted = VolumeAssignment.sample(mib: 4096, snapshots: [.sample(1)])
    #expect(plan(wanted, stored, use: guest()).steps == [.settlePull(merge)])
    #expect(plan(wanted, stored).steps == [.undoPull(merge)])
    let ending = VolumePlan.make(
      wanted, ActualVolume(look: .whole(stored), use: guest(), isMerging: true), now: 0, usual: 300_000)
    #expect(ending.steps == [] && ending.wakeAt == VolumePlan.mergeLook)
    #expect(plan(wanted, stored, use: .other).steps == [])
    stored.merge = nil
    #expect(VolumePlan.mustKnowUse(.sample(), .whole(stored)))
  }

  @Test("who has it open is asked for where it matters, and only there")
  func use() {
    func asks(_ desired: VolumeAssignment, _ stored: StoredVolume?) -> Bool {
      VolumePlan.mustKnowUse(desired, stored.map(VolumeLook.whole) ?? .absent)
    }
    #expect(!asks(.sample(), nil) && !asks(.sample(), stored()) && !asks(.sample(deleted: true), nil))
    #expect(asks(.sample(deleted: true), stored()) && asks(.sample(mib: 2048), stored()))
    #expect(asks(.sample(snapshots: [.sample(1)]), stored()) && asks(.sample(), stored([1])))
    #expect(asks(.sample(epoch: 1), stored()) && asks(.sample(snapshots: [.sample(1)]), stored(begun: [1])))
  }

  @Test("what another node is to have is let go of when nobody has it open, and nothing else is done with it")
  func release() {
    var desired = VolumeAssignment.sample(mib: 2048, snapshots: [.sample(1)], epoch: 1, base: .sample(1))
    desired.released = true
    #expect(!desired.isReady(.whole(stored([1], epoch: 1))))
    for use in [VolumeUse.nobody, guest(), .other, .elsewhere] {
      let plan = plan(desired, stored([1]), use: use)
      #expect(plan.steps == [] && (plan.activity == nil) == (use == .nobody))
      let actual = ActualVolume(look: .whole(stored([1])), use: use)
      let seen = VolumeObservation.of(
        desired, actual, plan: plan, activity: nil, transfer: nil, problem: nil, isWhole: { _ in true })
      #expect(seen.state == (use == .nobody ? .released : .ready))
    }
    #expect(plan(desired, nil).steps == [] && desired.isReleased(ActualVolume()), "it was never made")
    #expect(VolumePlan.mustKnowUse(desired, .whole(stored([1], epoch: 1))))
  }

  @Test("whoever has it open elsewhere is cut off first where that was asked for, and waited for where not")
  func fence() {
    var desired = VolumeAssignment.sample(deleted: true)
    #expect(plan(desired, stored(), use: .elsewhere).steps == [])
    desired.fence = true
    #expect(plan(desired, stored(), use: .elsewhere).steps == [.fence])
    #expect(plan(desired, stored(), use: .other).steps == [], "a guest of this node")
    #expect(plan(desired, stored()).steps == [.delete])
  }

  @Test("a guest may have what is whole, of the right epoch, and without a snapshot under way")
  func readiness() {
    #expect(VolumeAssignment.sample().isReady(.whole(stored())))
    #expect(!VolumeAssignment.sample(epoch: 1).isReady(.whole(stored())))
    #expect(!VolumeAssignment.sample().isReady(.whole(stored(begun: [1]))))
    #expect(!VolumeAssignment.sample(deleted: true).isReady(.whole(stored())))
    #expect(!VolumeAssignment.sample().isReady(.absent) && !VolumeAssignment.sample().isReady(.damaged("")))
  }
}
