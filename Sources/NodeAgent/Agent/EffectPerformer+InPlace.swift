import AloftModel

// Snapshots of pools that take them where guests write, and of volumes in such pools and in others together.

extension EffectPerformer {
  /// First each volume says that it is begun; then their guest stands still, and all are captured; then, and only then, it counts as
  /// taken. Whoever repeats it takes it anew, as long as it counts as taken nowhere; else all have been captured at that instant.
  func takeInPlace(
    _ snapshot: SnapshotID, of documents: [VolumeAssignment], quiesce: Bool
  ) async throws(AgentFailure) {
    var taken: StoredVolume.Snapshot?
    for document in documents {
      guard case .whole(let stored) = try await pool(document.pool).look(document.volume) else {
        throw AgentFailure(.volumeDamaged, "\(document.volume) is not whole")
      }
      taken = taken ?? stored.taken.first { $0.id == snapshot }
    }
    var quiesced = taken?.quiesced ?? false
    if taken == nil {
      let isAtRest = try await wereShutDown(documents)
      for document in documents { try await begin(snapshot, of: document) }
      quiesced = try await capture(snapshot, of: documents, quiesce: quiesce) ?? isAtRest
    }
    let takenAt = taken?.takenAt ?? clock.now().wall
    for document in documents {
      try await pool(document.pool).finishSnapshot(
        snapshot, of: document.volume, takenAt: takenAt, quiesced: quiesced)
    }
  }

  /// One that was begun before is of another instant. Of a volume that gets a new layer it goes where the layer may have been written
  /// to: the guest has it already, or may have had it.
  private func begin(_ snapshot: SnapshotID, of document: VolumeAssignment) async throws(AgentFailure) {
    let pool = try self.pool(document.pool)
    if !pool.takesSnapshotsInPlace, case .whole(let stored) = try await pool.look(document.volume),
      stored.snapshots.contains(where: { $0.id == snapshot })
    {
      var disk: DomainDisk?
      if let vm = document.vm { disk = try await liveDisk(document.volume, of: vm) }
      if disk == nil || disk?.source != stored.below {
        try await pool.deleteSnapshot(snapshot, of: document.volume)
      }
    }
    _ = try await pool.beginSnapshot(snapshot, of: document.volume)
  }

  /// Nil: none of the volumes is plugged in anywhere; else whether the guest's file systems were at rest.
  private func capture(
    _ snapshot: SnapshotID, of documents: [VolumeAssignment], quiesce: Bool
  ) async throws(AgentFailure) -> Bool? {
    var guests: Set<VMID> = []
    for document in documents {
      if let vm = document.vm, try await liveDisk(document.volume, of: vm) != nil {
        guests.insert(vm)
      } else {
        try await refuseOpen(document)
      }
    }
    guard guests.count <= 1 else {
      throw AgentFailure(.unsupported, "the volumes of one snapshot belong to several guests")
    }
    guard let vm = guests.first else {
      try await captureAll(snapshot, documents).get()
      return nil
    }
    let runs = try await hypervisor.domain(vm)?.power == .running
    let asks = runs && quiesce
    let isQuiet = try await asks ? hypervisor.freeze(vm) : false
    let captured: Result<Void, AgentFailure>
    do throws(AgentFailure) {
      if runs { try await hypervisor.suspend(vm) }
      captured = await captureAll(snapshot, documents)
      if runs { try await hypervisor.resume(vm) }
    } catch {
      if asks { try? await hypervisor.thaw(vm) }
      throw error
    }
    // Also where freezing failed: it may have been frozen before, by an agent that died.
    if asks { try? await hypervisor.thaw(vm) }
    try captured.get()
    return isQuiet
  }

  /// All at once: the guest stands still meanwhile. Those that get new layers come last, in one call.
  private func captureAll(
    _ snapshot: SnapshotID, _ documents: [VolumeAssignment]
  ) async -> Result<Void, AgentFailure> {
    let captured = await withTaskGroup(of: Result<Void, AgentFailure>.self) { group in
      for document in documents {
        group.addTask {
          do throws(AgentFailure) {
            let pool = try self.pool(document.pool)
            if pool.takesSnapshotsInPlace { try await pool.captureSnapshot(snapshot, of: document.volume) }
            return .success(())
          } catch { return .failure(error) }
        }
      }
      var all = Result<Void, AgentFailure>.success(())
      for await result in group { if case .failure = result { all = result } }
      return all
    }
    guard case .success = captured else { return captured }
    do throws(AgentFailure) {
      var layered: [VolumeAssignment] = []
      for document in documents where try !pool(document.pool).takesSnapshotsInPlace { layered.append(document) }
      try await switchGuest(to: layered, quiesce: false)
      return .success(())
    } catch { return .failure(error) }
  }

  /// A snapshot that was begun and is not wanted any more: its guest may still hold its file systems still.
  func endHold(_ snapshot: SnapshotID, of document: VolumeAssignment) async throws(AgentFailure) {
    guard case .whole(let stored) = try await pool(document.pool).look(document.volume),
      stored.snapshots.contains(where: { $0.id == snapshot && $0.takenAt == nil }),
      let vm = document.vm, try await liveDisk(document.volume, of: vm) != nil
    else { return }
    // Without an agent that answers there is nothing to end.
    try? await hypervisor.thaw(vm)
  }
}
