import AloftModel
import Logging

// Volumes that go to another pool; the rules are in VolumeMove.swift.

extension EffectPerformer {
  /// The document of a volume as it is to be worked to: with the pool in which the volume counts.
  func counting(_ document: VolumeAssignment) async throws(AgentFailure) -> VolumeAssignment {
    guard let move = document.move else { return document }
    let there = try await pool(move.pool).look(document.volume)
    if there == .absent { return document }
    if case .whole(let new) = there, case .whole(let old) = try await pool(document.pool).look(document.volume),
      new.source == old.source
    {
      // Two names for one place: there is only one copy.
      return document
    }
    var counting = document
    counting.pool = move.pool
    return counting
  }

  /// The same of volumes of a VM. Those of which it cannot be told are left out: no guest gets them.
  func counting(_ documents: [VolumeAssignment]) async -> [VolumeAssignment] {
    var counting: [VolumeAssignment] = []
    for document in documents {
      if let known = await attempt({ () async throws(AgentFailure) in try await self.counting(document) }).value {
        counting.append(known)
      }
    }
    return counting
  }

  /// What there is of a move.
  ///
  /// - Parameters:
  ///   - counting: the document with the pool in which the volume counts.
  ///   - disk: as its guest has it.
  func inspect(
    _ move: VolumeAssignment.Move, of document: VolumeAssignment, counting: VolumeAssignment, disk: DomainDisk?
  ) async throws(AgentFailure) -> ActualMove {
    var seen = ActualMove(isThere: counting.pool == move.pool)
    if seen.isThere {
      seen.isLeft = try await pool(document.pool).look(document.volume) != .absent
      return seen
    }
    seen.copy = try await pool(move.pool).copy(of: document.volume)
    if let vm = document.vm, let disk { seen.job = try await hypervisor.copyJob(disk, of: vm) }
    return seen
  }

  /// Carries out a step of a move.
  func move(
    _ step: VolumeStep, _ document: VolumeAssignment, _ emit: @escaping @Sendable (AgentEvent) -> Void
  ) async throws(AgentFailure) {
    guard let move = document.move else {
      throw AgentFailure(.changedMeanwhile, "\(document.volume) is to stay where it is")
    }
    let isThere = try await counting(document).pool == move.pool
    switch step {
    case .copy:
      guard !isThere else { return }
      try await copy(document, to: try pool(move.pool), emit)
    case .beginCopy:
      guard !isThere else { return }
      try await beginCopy(document, to: try pool(move.pool))
    case .finishCopy: try await finishCopy(document)
    case .discardCopy: try await discardCopy(document, in: try pool(move.pool))
    case .leavePool:
      guard isThere else { throw AgentFailure(.changedMeanwhile, "\(document.volume) does not count elsewhere") }
      try await refuseOpenIn(document.pool, document.volume)
      try await pool(document.pool).letGo(of: document.volume)
      try await pool(document.pool).delete(document.volume)
    default: throw AgentFailure(.unsupported, "\(step) is no part of a move")
    }
  }

  // MARK: At rest

  private func copy(
    _ document: VolumeAssignment, to target: any VolumeBackend, _ emit: @escaping @Sendable (AgentEvent) -> Void
  ) async throws(AgentFailure) {
    let volume = document.volume
    try await refuseOpen(document)
    let origin = try await pool(document.pool).origin(of: volume)
    let copied = await attempt { () async throws(AgentFailure) in
      _ = try await target.prepareCopy(of: volume, origin)
      try await target.fillCopy(of: volume, from: origin) { emit(.volumeProgress(volume, done: $0, total: $1)) }
      // Whatever anybody has done meanwhile.
      try await refuseOpen(document)
      try await target.adoptCopy(of: volume)
    }
    guard let failure = copied.failure else { return }
    // Where it was adopted all the same there is none.
    if let copy = try await target.copy(of: volume), try await !hypervisor.openSources().contains(copy) {
      try await target.discardCopy(of: volume)
    }
    throw failure
  }

  // MARK: Under a guest

  private func beginCopy(_ document: VolumeAssignment, to target: any VolumeBackend) async throws(AgentFailure) {
    guard let vm = document.vm, let disk = try await liveDisk(document.volume, of: vm) else {
      throw AgentFailure(.changedMeanwhile, "no guest has \(document.volume) open")
    }
    // QEMU 7.2 may crash when it is asked about its disks while one of several jobs comes to its end.
    for other in try await hypervisor.disks(of: vm) {
      if try await hypervisor.isMerging(other, of: vm) {
        throw AgentFailure(.changedMeanwhile, "layers of a volume of the same guest are being merged, or one is moved")
      }
    }
    let origin = try await pool(document.pool).origin(of: document.volume)
    let source = try await target.prepareCopy(of: document.volume, origin)
    let platform = try await self.platform()
    let specification = DiskSpecification(
      Assignment.Disk(volume: document.volume), source: source, ceph: platform.access(to: source),
      encryption: document.encrypted == true ? DiskEncryption() : nil, directIO: platform.directIO)
    let begun = await attempt { () async throws(AgentFailure) in
      try await withKeys(of: [document]) { () async throws(AgentFailure) in
        try await hypervisor.beginCopy(disk, of: vm, to: specification)
      }
    }
    guard let failure = begun.failure else { return }
    if try await !hypervisor.openSources().contains(source) { try await target.discardCopy(of: document.volume) }
    throw failure
  }

  /// Lets the guest stand still, QEMU go over, the copy count, and the guest go on. If that stops in the middle the guest stands still:
  /// whoever lets it go on comes by ``settle(_:of:)`` first.
  private func finishCopy(_ document: VolumeAssignment) async throws(AgentFailure) {
    guard let vm = document.vm, let domain = try await hypervisor.domain(vm), domain.power.isActive else {
      throw AgentFailure(.changedMeanwhile, "no guest has \(document.volume) open")
    }
    // What takes time goes before.
    let copy = try await pendingCopy(of: document)
    let runs = domain.power == .running
    if runs { try await hypervisor.suspend(vm) }
    try await settle(document, of: vm, copy)
    if runs { try await hypervisor.resume(vm) }
  }

  /// Before guests go on, or begin, with volumes that go to another pool: a switch that was begun is brought to its end, and what was left
  /// counts nowhere any more.
  func settle(_ documents: [VolumeAssignment], of vm: VMID) async throws(AgentFailure) {
    for document in documents where document.move != nil {
      try await settle(document, of: vm, try await pendingCopy(of: document))
    }
  }

  /// What there is of a copy.
  private enum PendingCopy {
    case none
    /// It does not count yet.
    case made(DiskSource)
    /// The volume counts in the new pool.
    case adopted
  }

  private func pendingCopy(of document: VolumeAssignment) async throws(AgentFailure) -> PendingCopy {
    guard let move = document.move else { return .none }
    if try await counting(document).pool == move.pool { return .adopted }
    return try await pool(move.pool).copy(of: document.volume).map(PendingCopy.made) ?? .none
  }

  private func settle(
    _ document: VolumeAssignment, of vm: VMID, _ pending: PendingCopy
  ) async throws(AgentFailure) {
    let volume = document.volume
    switch pending {
    case .none: return
    case .adopted: break
    case .made(let copy):
      guard let move = document.move, try await goOver(volume, of: vm, to: copy) else { return }
      // What QEMU has only in its memory would be missing in the copy, and nowhere else.
      try await hypervisor.flush(copy, of: vm)
      try await pool(move.pool).adoptCopy(of: volume)
    }
    try await pool(document.pool).letGo(of: volume)
  }

  /// Whether the guest runs on the copy now. If both are not the same yet it stays where it is.
  private func goOver(_ volume: VolumeID, of vm: VMID, to copy: DiskSource) async throws(AgentFailure) -> Bool {
    guard let disk = try await liveDisk(volume, of: vm) else { return false }
    if disk.source == copy { return true }
    guard let job = try await hypervisor.copyJob(disk, of: vm), job.isReady else { return false }
    let pivoted = await attempt { () async throws(AgentFailure) in try await hypervisor.pivot(disk, of: vm) }
    if let failure = pivoted.failure {
      logger.warning("a guest did not go over to a copy", metadata: ["volume": "\(volume)", "failure": "\(failure)"])
      // With a job that may go over by itself later it must not go on.
      if let same = try await liveDisk(volume, of: vm), same.source != copy {
        try await hypervisor.cancelCopy(same, of: vm)
      }
    }
    return try await liveDisk(volume, of: vm)?.source == copy
  }

  private func discardCopy(_ document: VolumeAssignment, in target: any VolumeBackend) async throws(AgentFailure) {
    let volume = document.volume
    guard let copy = try await target.copy(of: volume) else { return }
    let disk: DomainDisk?
    if let vm = document.vm { disk = try await liveDisk(volume, of: vm) } else { disk = nil }
    guard disk?.source != copy else { throw AgentFailure(.changedMeanwhile, "the guest runs on the copy of \(volume)") }
    if let vm = document.vm, let disk, try await hypervisor.copyJob(disk, of: vm) != nil {
      try await hypervisor.cancelCopy(disk, of: vm)
      guard try await liveDisk(volume, of: vm)?.source != copy else {
        throw AgentFailure(.changedMeanwhile, "the guest has gone over to the copy of \(volume)")
      }
    }
    guard try await !hypervisor.openSources().contains(copy) else {
      throw AgentFailure(.volumeInUse, "a guest has the copy of \(volume) open")
    }
    // A job that QEMU has given up says nothing about why.
    let status = await target.status()
    let isFull = disk != nil && status.problem == nil && status.freeBytes < Self.fewBytes
    try await target.discardCopy(of: volume)
    if isFull, document.move?.isGivenUp != true {
      throw AgentFailure(.diskFull, "pool \(status.name) became full while \(volume) was copied into it")
    }
  }

  /// A pool with less is full.
  private static let fewBytes = 16 << 20

  // MARK: Both pools

  /// Throws `volumeInUse` if any guest of this host has open what a pool has of a volume.
  private func refuseOpenIn(_ name: String, _ volume: VolumeID) async throws(AgentFailure) {
    guard case .whole(let stored) = try await pool(name).look(volume) else { return }
    guard try await hypervisor.openSources().isDisjoint(with: [stored.source] + stored.earlier) else {
      throw AgentFailure(.volumeInUse, "a guest has \(volume) open in pool \(name)")
    }
  }

  /// Deletes a volume that no guest has open, wherever there is something of it.
  func deleteEverywhere(_ document: VolumeAssignment) async throws(AgentFailure) {
    let volume = document.volume
    guard let move = document.move else { return try await pool(document.pool).delete(volume) }
    let target = try pool(move.pool)
    if let copy = try await target.copy(of: volume) {
      guard try await !hypervisor.openSources().contains(copy) else {
        throw AgentFailure(.volumeInUse, "a guest has the copy of \(volume) open")
      }
      try await target.discardCopy(of: volume)
    }
    for name in [document.pool, move.pool] {
      try await refuseOpenIn(name, volume)
      if try await pool(name).look(volume) != .absent { try await pool(name).delete(volume) }
    }
  }
}

extension Result {
  fileprivate var value: Success? { if case .success(let value) = self { value } else { nil } }
}
