import AloftModel

extension VolumeObservation {
  /// Of a volume that could not be looked at yet: generation 0 ends nothing, it only says what is waited for.
  init(waiting desired: VolumeAssignment, _ activity: String?, problem: Observation.Problem?) {
    self.init(
      volume: desired.volume, generation: 0, sequence: 0, state: .preparing, activity: activity, problem: problem)
  }

  /// What is told of one volume; the sequence is filled in when it is sent.
  ///
  /// - Parameter isWhole: whether all volumes of a snapshot have it; one that only some have is not told of.
  static func of(
    _ desired: VolumeAssignment, _ actual: ActualVolume, plan: VolumePlan, activity: String?,
    transfer: (done: Int, total: Int)?, problem: Observation.Problem?, isWhole: (SnapshotID) -> Bool
  ) -> VolumeObservation {
    var observation = VolumeObservation(
      volume: desired.volume, generation: desired.generation, sequence: 0,
      state: state(desired, actual), activity: activity, bytesDone: transfer?.done, bytesTotal: transfer?.total,
      problem: problem ?? plan.problem, pool: desired.settledPool(actual))
    guard let stored = actual.stored else { return observation }
    observation.sizeBytes = stored.sizeBytes
    observation.usedBytes = stored.usedBytes
    observation.epoch = stored.epoch
    observation.snapshots = stored.snapshots.compactMap { snapshot in
      guard let takenAt = snapshot.takenAt, isWhole(snapshot.id) else { return nil }
      return Snapshot(
        id: snapshot.id, takenAt: takenAt, quiesced: snapshot.quiesced, memoryBytes: snapshot.memoryBytes)
    }
    return observation
  }

  private static func state(_ desired: VolumeAssignment, _ actual: ActualVolume) -> State {
    if desired.isReleased(actual) { return .released }
    return switch actual.look {
    case .absent: desired.deleted && actual.move?.isClean != false ? .absent : .preparing
    case .damaged: .preparing
    case .whole: .ready
    }
  }

  /// Nothing is done yet, nor wrong: it says only what is waited for.
  var isPreparing: Bool { state == .preparing && problem == nil }

  /// Whether `other` differs only in what the agent is busy with and in how much the volume takes.
  func isSame(butForProgress other: VolumeObservation) -> Bool {
    var copy = other
    copy.activity = activity
    copy.bytesDone = bytesDone
    copy.bytesTotal = bytesTotal
    copy.usedBytes = usedBytes
    return self == copy
  }
}
