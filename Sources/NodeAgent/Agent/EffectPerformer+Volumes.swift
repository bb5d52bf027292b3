import AloftModel
import Logging

extension EffectPerformer {
  func pool(_ name: String) throws(AgentFailure) -> any VolumeBackend {
    guard let pool = storage.pool(name) else {
      throw AgentFailure(.storage, "this node has no storage pool \(name)")
    }
    return pool
  }

  /// Looks at a volume, and at who has it open as far as that matters.
  func inspect(_ document: VolumeAssignment) async throws(AgentFailure) -> ActualVolume {
    let original = document
    let document = try await counting(original)
    let pool = try self.pool(document.pool)
    var actual = ActualVolume(look: try await pool.look(document.volume))
    if let image = document.source?.image, actual.look == .absent {
      actual.hasImage = await pool.hasImage(image.sha256)
    }
    if let snapshot = document.source?.snapshot, let original = document.source?.volume, actual.look == .absent {
      if case .whole(let stored) = try await pool.look(original) {
        actual.isSourceSettled = stored.hasTaken(snapshot)
      } else {
        // Nobody will take it any more: making the clone says what is missing.
        actual.isSourceSettled = true
      }
    }
    guard let stored = actual.stored else {
      if let move = original.move {
        actual.move = try await inspect(move, of: original, counting: document, disk: nil)
      }
      if actual.look != .absent || actual.move?.isClean == false, document.deleted { actual.use = .nobody }
      return actual
    }
    if let move = original.move {
      let disk: DomainDisk?
      if let vm = document.vm { disk = try await liveDisk(document.volume, of: vm) } else { disk = nil }
      actual.move = try await inspect(move, of: original, counting: document, disk: disk)
    }
    if let vm = document.vm, let disk = try await liveDisk(document.volume, of: vm) {
      actual.use = .guest(disk)
      // Of several jobs on a disk there is one at a time.
      if stored.merge != nil || stored.pull != nil, actual.move?.job == nil {
        actual.isMerging = try await hypervisor.isMerging(disk, of: vm)
      }
    } else if VolumePlan.mustKnowUse(document, actual.look) {
      let open = try await hypervisor.openSources()
      if open.isDisjoint(with: [stored.source] + stored.earlier + [actual.move?.copy].compactMap { $0 }) {
        actual.use = try await pool.isOpen(document.volume) ? .elsewhere : .nobody
      } else {
        actual.use = .other
      }
      actual.canMerge = stored.merge.map { open.isDisjoint(with: $0.tops) } ?? false
    }
    return actual
  }

  /// A volume as a guest has it plugged in now.
  func liveDisk(_ volume: VolumeID, of vm: VMID) async throws(AgentFailure) -> DomainDisk? {
    guard let domain = try await hypervisor.domain(vm), domain.power.isActive else { return nil }
    return try await hypervisor.disks(of: vm).first { $0.volume == volume }
  }

  func carryOut(
    _ step: VolumeStep, _ document: VolumeAssignment, _ all: [VolumeAssignment],
    _ emit: @escaping @Sendable (AgentEvent) -> Void
  ) async -> AgentFailure? {
    let started = clock.now().uptime
    do throws(AgentFailure) {
      try await run(step, document, all, emit)
      logger.info(
        "\(step.activity): done",
        metadata: [
          "volume": "\(document.volume)", "generation": "\(document.generation)",
          "ms": "\(clock.now().uptime - started)",
        ])
      return nil
    } catch {
      logger.warning(
        "\(step.activity): failed", metadata: ["volume": "\(document.volume)", "failure": "\(error)"])
      return error
    }
  }

  private func run(
    _ step: VolumeStep, _ document: VolumeAssignment, _ all: [VolumeAssignment],
    _ emit: @escaping @Sendable (AgentEvent) -> Void
  ) async throws(AgentFailure) {
    for document in all {
      guard let key = document.key else { continue }
      for name in [document.pool, document.move?.pool].compactMap({ $0 }) {
        try await self.pool(name).unlock(document.volume, with: key)
      }
    }
    let original = document
    let document = try await counting(original)
    let all = await counting(all)
    let (pool, volume) = (try self.pool(document.pool), document.volume)
    switch step {
    case .copy, .beginCopy, .finishCopy, .discardCopy, .leavePool: try await move(step, original, emit)
    case .ensureImage:
      // The machine asks for images apart from the volumes that wait for them.
      throw AgentFailure(.unsupported, "an image is not fetched for one volume alone")
    case .create: try await pool.create(volume, sizeBytes: document.sizeBytes, from: document.source)
    case .catchUp: try await switchGuest(to: [document], quiesce: false)
    case .takeSnapshot(let snapshot, let volumes, let quiesce, let memory):
      let partners = all.filter { volumes.contains($0.volume) }
      guard partners.count == volumes.count else {
        throw AgentFailure(.changedMeanwhile, "a volume of the snapshot \(snapshot) is not here")
      }
      if let memory {
        try await take(snapshot, of: partners, memoryBeside: memory) { done, total in
          emit(.volumeProgress(volume, done: done, total: total))
        }
      } else {
        try await take(snapshot, of: partners, quiesce: quiesce)
      }
    case .deleteSnapshot(let snapshot):
      if pool.takesSnapshotsInPlace { try await endHold(snapshot, of: document) }
      try await pool.deleteSnapshot(snapshot, of: volume)
    case .grow(let bytes):
      if let vm = document.vm, let disk = try await liveDisk(volume, of: vm) {
        try await hypervisor.resize(disk, of: vm, to: bytes)
      } else {
        try await refuseOpen(document)
        try await pool.grow(volume, to: bytes)
      }
    case .revert(let snapshot, let epoch):
      try await refuseOpen(document)
      try await pool.revert(volume, to: snapshot, epoch: epoch, sizeBytes: document.sizeBytes)
    case .restore(let backup, let epoch):
      try await restore(backup, to: document, epoch: epoch) { done, total in
        emit(.volumeProgress(volume, done: done, total: total))
      }
    case .keep(let epoch): try await pool.keep(volume, asEpoch: epoch)
    case .delete:
      try await refuseOpen(document)
      try await deleteEverywhere(original)
    case .fence: try await fence(document)
    case .merge(let merge):
      guard try await hypervisor.openSources().isDisjoint(with: merge.tops) else {
        throw AgentFailure(.volumeInUse, "a guest that reads through the layers of \(volume) runs")
      }
      try await pool.merge(merge)
    case .pull(let merge):
      guard let vm = document.vm, let disk = try await liveDisk(volume, of: vm), disk.source == merge.childSource else {
        throw AgentFailure(.changedMeanwhile, "no guest runs on the newest layer of \(volume)")
      }
      // QEMU 7.2 may crash when it is asked about its disks while one of several merges comes to its end.
      for other in try await hypervisor.disks(of: vm) where other.volume != volume {
        if try await hypervisor.isMerging(other, of: vm) {
          throw AgentFailure(.changedMeanwhile, "layers of another volume of the same guest are being merged")
        }
      }
      try await pool.beginPull(merge)
      try await hypervisor.pull(merge.layerSource, into: disk, of: vm)
    case .settlePull(let merge):
      guard let vm = document.vm, let disk = try await liveDisk(volume, of: vm), disk.source == merge.childSource else {
        throw AgentFailure(.changedMeanwhile, "no guest runs on the newest layer of \(volume)")
      }
      try await hypervisor.flush(disk.source, of: vm)
      try await pool.settlePull(merge)
    case .undoPull(let merge):
      guard try await hypervisor.openSources().isDisjoint(with: merge.tops) else {
        throw AgentFailure(.volumeInUse, "a guest that reads through the layers of \(volume) runs")
      }
      try await pool.undoPull(merge)
    }
  }

  /// Throws `volumeInUse` if any guest has the volume open, whatever anybody remembers.
  func refuseOpen(_ document: VolumeAssignment) async throws(AgentFailure) {
    guard case .whole(let stored) = try await pool(document.pool).look(document.volume) else { return }
    guard try await hypervisor.openSources().isDisjoint(with: [stored.source] + stored.earlier) else {
      throw AgentFailure(.volumeInUse, "a guest has \(document.volume) open")
    }
    try await refuseOpenElsewhere([document])
  }

  /// Cuts off whoever has a volume open elsewhere.
  private func fence(_ document: VolumeAssignment) async throws(AgentFailure) {
    guard case .whole(let stored) = try await pool(document.pool).look(document.volume),
      try await hypervisor.openSources().isDisjoint(with: [stored.source] + stored.earlier)
    else { throw AgentFailure(.volumeInUse, "a guest of this node has \(document.volume) open") }
    var cut: [String] = []
    for name in Set([document.pool, document.move?.pool].compactMap { $0 }).sorted() {
      cut += try await pool(name).fence(document.volume)
    }
    if !cut.isEmpty {
      logger.warning(
        "cut off from a volume", metadata: ["volume": "\(document.volume)", "clients": "\(cut.joined(separator: " "))"])
    }
  }

  /// The same for guests of any host, of which only pools that hosts share know.
  func refuseOpenElsewhere(_ documents: [VolumeAssignment]) async throws(AgentFailure) {
    for document in documents {
      if document.released == true {
        throw AgentFailure(.changedMeanwhile, "\(document.volume) is to be had by another node")
      }
      guard let pool = storage.pool(document.pool), try await pool.isOpen(document.volume) else { continue }
      if document.fence == true {
        try await fence(document)
        continue
      }
      throw AgentFailure(.volumeInUse, "\(document.volume) is open on a host, or its host has just died")
    }
  }

  /// First each volume gets a new layer, which reads as the old one; then the guest goes over to all of them at one instant;
  /// then, and only then, the snapshot counts as taken. Whoever repeats it goes on where it was cut off.
  private func take(
    _ snapshot: SnapshotID, of documents: [VolumeAssignment], quiesce: Bool
  ) async throws(AgentFailure) {
    for document in documents where try pool(document.pool).takesSnapshotsInPlace {
      return try await takeInPlace(snapshot, of: documents, quiesce: quiesce)
    }
    let isAtRest = try await wereShutDown(documents)
    for document in documents { _ = try await pool(document.pool).beginSnapshot(snapshot, of: document.volume) }
    let quiesced = try await switchGuest(to: documents, quiesce: quiesce)
    let now = clock.now().wall
    for document in documents {
      try await pool(document.pool).finishSnapshot(
        snapshot, of: document.volume, takenAt: now, quiesced: quiesced ?? isAtRest)
    }
  }

  /// Whether no guest that has one of the volumes runs, and all ended in peace.
  func wereShutDown(_ documents: [VolumeAssignment]) async throws(AgentFailure) -> Bool {
    for document in documents { guard try await wasShutDown(document) else { return false } }
    return true
  }

  /// Whether the guest that the volume is attached to, if there is one, ended in peace.
  private func wasShutDown(_ document: VolumeAssignment) async throws(AgentFailure) -> Bool {
    guard let vm = document.vm, let domain = try await hypervisor.domain(vm) else { return true }
    switch domain.power {
    case .off(.failed), .off(.destroyed): return false
    case .off: return !domain.tag.powerCut
    default: return false
    }
  }

  /// Gives guests the newest layers of their volumes. Nil: none of them is plugged in anywhere; else whether the guest's file
  /// systems were at rest.
  @discardableResult
  func switchGuest(
    to documents: [VolumeAssignment], quiesce: Bool
  ) async throws(AgentFailure) -> Bool? {
    let (plugged, switches) = try await pendingSwitches(to: documents)
    guard !plugged.isEmpty else { return nil }
    guard switches.count <= 1 else {
      throw AgentFailure(.unsupported, "the volumes of one snapshot belong to several guests")
    }
    guard let (vm, all) = switches.first else { return false }
    let switched = documents.filter { document in all.contains { $0.disk.volume == document.volume } }
    return try await withKeys(of: switched) { () async throws(AgentFailure) in
      try await hypervisor.switchDisks(all, of: vm, quiesce: quiesce)
    }
  }

  private func whole(_ document: VolumeAssignment) async throws(AgentFailure) -> StoredVolume {
    guard case .whole(let stored) = try await pool(document.pool).look(document.volume) else {
      throw AgentFailure(.volumeDamaged, "\(document.volume) is not whole")
    }
    return stored
  }

  /// The volumes that are plugged into guests, and which of these are to go over to their newest layers.
  func pendingSwitches(
    to documents: [VolumeAssignment]
  ) async throws(AgentFailure) -> (plugged: Set<VolumeID>, switches: [VMID: [DiskSwitch]]) {
    var switches: [VMID: [DiskSwitch]] = [:]
    var plugged: Set<VolumeID> = []
    for document in documents {
      guard let vm = document.vm, let disk = try await liveDisk(document.volume, of: vm) else {
        // What is at rest must be so for everybody.
        try await refuseOpen(document)
        continue
      }
      plugged.insert(document.volume)
      var stored = try await whole(document)
      guard disk.source != stored.source else { continue }
      if disk.source == stored.below, try await bringBack(disk, of: vm, document, stored) {
        stored = try await whole(document)
      }
      guard disk.source == stored.below else {
        throw AgentFailure(.volumeDamaged, "\(document.volume): its guest runs on \(disk.source.path)")
      }
      switches[vm, default: []].append(
        DiskSwitch(disk: disk, to: stored.source, isEncrypted: stored.encryption != nil))
    }
    return (plugged, switches)
  }
}
