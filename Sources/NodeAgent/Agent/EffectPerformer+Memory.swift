import AloftModel
import Logging

// Snapshots with what the guest's memory holds, and guests that go on from that.

extension EffectPerformer {
  /// As other snapshots, and the guest goes over to its new layers at the instant of which its memory is; then the file gets its name;
  /// then, and only then, the snapshot counts as taken. Whoever repeats it begins to write anew as long as the guest has not gone over.
  ///
  /// libvirtd goes on with it whoever of us dies: a file that is whole, of a guest that has gone over, is of that instant. Each attempt
  /// removes what an earlier one has left.
  func take(
    _ snapshot: SnapshotID, of documents: [VolumeAssignment], memoryBeside volume: VolumeID,
    progress: @escaping @Sendable (Int, Int) -> Void
  ) async throws(AgentFailure) {
    guard let owner = documents.first(where: { $0.volume == volume }), let vm = owner.vm else {
      throw AgentFailure(.memoryUnsaved, "\(volume) is attached to no machine whose memory it could keep")
    }
    let pool = try self.pool(owner.pool)
    guard case .whole(let stored) = try await pool.look(volume) else {
      throw AgentFailure(.volumeDamaged, "\(volume) is not whole")
    }
    if stored.snapshots.first(where: { $0.id == snapshot })?.memoryBytes == nil {
      try await writeMemory(snapshot, of: documents, guest: vm, owner: owner, progress: progress)
      try await pool.finishMemory(snapshot, of: volume)
    }
    let now = clock.now().wall
    for document in documents {
      try await self.pool(document.pool).finishSnapshot(snapshot, of: document.volume, takenAt: now, quiesced: false)
    }
  }

  private func writeMemory(
    _ snapshot: SnapshotID, of documents: [VolumeAssignment], guest vm: VMID, owner: VolumeAssignment,
    progress: @escaping @Sendable (Int, Int) -> Void
  ) async throws(AgentFailure) {
    for document in documents {
      guard document.vm == vm, try !pool(document.pool).takesSnapshotsInPlace, document.encrypted != true else {
        throw AgentFailure(
          .memoryUnsaved,
          "\(document.volume) is not a volume of the same machine, unencrypted and in a pool of this node")
      }
    }
    guard let domain = try await hypervisor.domain(vm), domain.power.isActive, domain.power != .panicked else {
      throw AgentFailure(.memoryUnsaved, "the guest does not run any more: it has no memory to keep")
    }
    guard try await !hypervisor.isWritingMemory(of: vm) else {
      throw AgentFailure(.changedMeanwhile, "the guest's memory is being written, since before the agent was started")
    }
    let has = Set(try await hypervisor.disks(of: vm).map(\.volume))
    guard has == Set(documents.map(\.volume)) else {
      throw AgentFailure(.changedMeanwhile, "the guest has other volumes than the snapshot is of")
    }
    let pool = try self.pool(owner.pool)
    if try await isBegun(snapshot, of: documents), try await pendingSwitches(to: documents).switches.isEmpty {
      guard try await pool.hasWrittenMemory(snapshot, of: owner.volume) else {
        throw AgentFailure(
          .memoryUnsaved, "the guest has gone on since the instant of the snapshot, and its memory was not written")
      }
      return
    }
    guard domain.power == .running else { throw AgentFailure(.changedMeanwhile, "the guest stands still") }
    // Before anything is changed: the file may become as large as the memory twice, since the guest runs on.
    let room = 2 * (try await hypervisor.memoryBytes(of: vm))
    let file = try await pool.beginMemory(snapshot, of: owner.volume, bytes: room)
    for document in documents { _ = try await self.pool(document.pool).beginSnapshot(snapshot, of: document.volume) }
    guard let switches = try await pendingSwitches(to: documents).switches[vm], switches.count == documents.count else {
      throw AgentFailure(.memoryUnsaved, "some volumes have gone over to new layers already")
    }
    try await hypervisor.switchDisks(switches, of: vm, writingMemoryTo: file, progress: progress)
    guard try await pool.hasWrittenMemory(snapshot, of: owner.volume) else {
      throw AgentFailure(.memoryUnsaved, "libvirt has not written the guest's memory to \(file)")
    }
  }

  private func isBegun(_ snapshot: SnapshotID, of documents: [VolumeAssignment]) async throws(AgentFailure) -> Bool {
    for document in documents {
      guard case .whole(let stored) = try await pool(document.pool).look(document.volume), stored.has(snapshot) else {
        return false
      }
    }
    return true
  }

  /// The guest stands still afterwards. Its volumes must hold what its memory knows of them.
  func restore(
    _ memory: Assignment.Memory, _ document: Assignment, _ volumes: [VolumeAssignment],
    sources: [VolumeID: DiskSource]
  ) async throws(AgentFailure) {
    for expected in memory.epochs {
      guard let volume = volumes.first(where: { $0.volume == expected.volume }),
        case .whole(let stored) = try await pool(volume.pool).look(volume.volume), stored.epoch == expected.epoch
      else {
        throw AgentFailure(
          .memoryMismatch, "\(expected.volume) does not hold what it held when the guest's memory was kept")
      }
    }
    guard let owner = volumes.first(where: { $0.volume == memory.volume }) else {
      throw AgentFailure(.memoryMismatch, "\(memory.volume), which keeps the guest's memory, is not attached to it")
    }
    let file = try await pool(owner.pool).memory(of: memory.snapshot, of: memory.volume)
    try await hypervisor.restore(document, from: file, sources: sources)
    logger.info(
      "the guest's memory is loaded", metadata: ["vm": "\(document.vm)", "snapshot": "\(memory.snapshot)"])
  }
}
