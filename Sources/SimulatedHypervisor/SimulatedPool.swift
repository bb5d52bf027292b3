import AloftModel
import NodeAgent

/// The storage pool of a ``SimulatedHost``: volumes without data, whose layers are numbers.
public struct SimulatedPool: VolumeBackend {
  let host: SimulatedHost
  let epoch: Int
  let fetchesContent: Bool

  init(_ host: SimulatedHost, epoch: Int, fetchesContent: Bool) {
    self.host = host
    self.fetchesContent = fetchesContent
    self.epoch = epoch
  }

  static func source(_ layer: Int) -> DiskSource { .file("/simulated/layers/\(layer)") }

  private func effect(
    _ body: (inout SimulatedHost.State) throws(AgentFailure) -> Void
  ) throws(AgentFailure) {
    let epoch = epoch
    try host.state.withLock { state throws(AgentFailure) in
      guard epoch == state.epoch else { throw .crashed }
      try state.maybeCrashBefore()
      if state.faults.diskIsFull {
        state.count("disk full")
        throw AgentFailure(.diskFull, "simulated: the disk is full")
      }
      try body(&state)
      try state.maybeCrashAfter()
    }
  }

  private func change(
    _ volume: VolumeID, _ body: (inout SimulatedHost.Volume, inout SimulatedHost.State) throws(AgentFailure) -> Void
  ) throws(AgentFailure) {
    try effect { state throws(AgentFailure) in
      guard var known = state.volumes[volume] else {
        throw AgentFailure(.volumeDamaged, "simulated: there is no \(volume)")
      }
      try body(&known, &state)
      state.volumes[volume] = known
    }
  }

  public func status() async -> NodeStoragePool {
    NodeStoragePool(
      name: DirectoryStorage.localPool, kind: .directory, totalBytes: 1 << 42, freeBytes: 1 << 42, usedBytes: 0)
  }

  public func hasImage(_ sha256: String) async -> Bool { host.state.withLock { $0.images.contains(sha256) } }

  public func fetch(
    _ image: Assignment.BaseImage, from source: ImageSource, progress: @escaping @Sendable (Int) -> Void
  ) async throws(AgentFailure) {
    if fetchesContent { try await source(image, -1, { _ in }, progress) }
    try effect { state in
      state.images.insert(image.sha256)
      state.downloads += 1
    }
  }

  /// Images cost nothing here.
  public func removeImages(but wanted: Set<String>, uptime: Int) async throws(AgentFailure) {}

  public func look(_ volume: VolumeID) async throws(AgentFailure) -> VolumeLook {
    let epoch = epoch
    return try host.state.withLock { state throws(AgentFailure) in
      guard epoch == state.epoch else { throw .crashed }
      guard let known = state.volumes[volume] else { return .absent }
      if known.isDamaged { return .damaged("simulated: a layer is missing") }
      return .whole(
        StoredVolume(
          epoch: known.epoch, sizeBytes: known.sizeBytes, usedBytes: 1 << 16, snapshots: known.snapshots.map(\.stored),
          source: Self.source(known.leaf), below: known.parents[known.leaf].map(Self.source),
          earlier: known.snapshots.filter { $0.stored.takenAt == nil }.map { Self.source($0.layer) }))
    }
  }

  public func create(
    _ volume: VolumeID, sizeBytes: Int, from source: VolumeAssignment.Source?
  ) async throws(AgentFailure) {
    try effect { state throws(AgentFailure) in
      guard state.volumes[volume] == nil else { return }
      if let image = source?.image, !state.images.contains(image.sha256) {
        throw AgentFailure(.storage, "simulated: the image is not there")
      }
      if let snapshot = source?.snapshot, source?.volume.map({ state.hasTaken(snapshot, of: $0) }) != true {
        throw AgentFailure(.volumeDamaged, "simulated: there is no \(snapshot)")
      }
      state.layers += 1
      state.volumes[volume] = SimulatedHost.Volume(sizeBytes: sizeBytes, leaf: state.layers, source: source)
    }
  }

  public func grow(_ volume: VolumeID, to sizeBytes: Int) async throws(AgentFailure) {
    try change(volume) { known, state in
      state.requireClosed(known, "was grown")
      known.sizeBytes = max(known.sizeBytes, sizeBytes)
    }
  }

  public func beginSnapshot(_ snapshot: SnapshotID, of volume: VolumeID) async throws(AgentFailure) -> DiskSource {
    try change(volume) { known, state in
      guard !known.snapshots.contains(where: { $0.stored.id == snapshot }) else { return }
      state.layers += 1
      known.snapshots.append(
        .init(stored: StoredVolume.Snapshot(id: snapshot, takenAt: nil, quiesced: false), layer: known.leaf))
      known.parents[state.layers] = known.leaf
      known.leaf = state.layers
    }
    return Self.source(host.volume(volume)?.leaf ?? 0)
  }

  public func finishSnapshot(
    _ snapshot: SnapshotID, of volume: VolumeID, takenAt: Int, quiesced: Bool
  ) async throws(AgentFailure) {
    try change(volume) { known, state throws(AgentFailure) in
      guard let index = known.snapshots.firstIndex(where: { $0.stored.id == snapshot }) else {
        throw AgentFailure(.volumeDamaged, "simulated: there is no \(snapshot)")
      }
      if state.openSources.contains(Self.source(known.snapshots[index].layer)) {
        state.violations.append("\(snapshot) counts as taken, and a guest writes into it")
      }
      guard known.snapshots[index].stored.takenAt == nil else { return }
      known.snapshots[index].stored.takenAt = takenAt
      known.snapshots[index].stored.quiesced = quiesced
    }
  }

  public func deleteSnapshot(_ snapshot: SnapshotID, of volume: VolumeID) async throws(AgentFailure) {
    try change(volume) { known, _ in known.snapshots.removeAll { $0.stored.id == snapshot } }
  }

  public func revert(
    _ volume: VolumeID, to snapshot: SnapshotID, epoch: Int, sizeBytes: Int
  ) async throws(AgentFailure) {
    try change(volume) { known, state throws(AgentFailure) in
      guard known.epoch < epoch else { return }
      guard let base = known.snapshots.first(where: { $0.stored.id == snapshot && $0.stored.takenAt != nil }) else {
        throw AgentFailure(.volumeDamaged, "simulated: there is no \(snapshot)")
      }
      state.requireClosed(known, "was reverted")
      state.layers += 1
      known.parents[state.layers] = base.layer
      known.leaf = state.layers
      known.epoch = epoch
      known.sizeBytes = max(known.sizeBytes, sizeBytes)
    }
  }

  public func delete(_ volume: VolumeID) async throws(AgentFailure) {
    try effect { state in
      if let known = state.volumes[volume] { state.requireClosed(known, "was deleted") }
      state.volumes[volume] = nil
    }
  }

  public func merge(_ merge: LayerMerge) async throws(AgentFailure) {}
  public func beginPull(_ merge: LayerMerge) async throws(AgentFailure) {}
  public func settlePull(_ merge: LayerMerge) async throws(AgentFailure) {}
  public func undoPull(_ merge: LayerMerge) async throws(AgentFailure) {}

  public func export(
    _ export: VolumeAssignment.Export, of volume: VolumeID,
    begin: @escaping @Sendable () async throws(AgentFailure) -> Void,
    progress: @escaping @Sendable (Int, Int) -> Void
  ) async throws(AgentFailure) -> ExportedFile {
    throw AgentFailure(.unsupported, "simulated: volumes have no data")
  }

  public func removeExports(but wanted: Set<ImageID>) async throws(AgentFailure) {}
}

extension SimulatedHost.State {
  /// What the guests that run write to.
  var openSources: Set<DiskSource> {
    domains.values.reduce(into: []) { sources, domain in
      if domain.power.isActive { sources.formUnion(domain.disks.map(\.source)) }
    }
  }

  func hasTaken(_ snapshot: SnapshotID, of volume: VolumeID) -> Bool {
    volumes[volume]?.snapshots.contains { $0.stored.id == snapshot && $0.stored.takenAt != nil } == true
  }

  mutating func checkSources(_ disks: some Sequence<DomainDisk>, _ what: String) {
    for disk in disks {
      guard let volume = volumes[disk.volume], SimulatedPool.source(volume.leaf) == disk.source else {
        violations.append("a guest \(what) \(disk), which is not the newest layer")
        continue
      }
    }
  }

  mutating func requireClosed(_ volume: SimulatedHost.Volume, _ what: String) {
    let layers = [volume.leaf] + volume.snapshots.filter { $0.stored.takenAt == nil }.map(\.layer)
    if !openSources.isDisjoint(with: layers.map(SimulatedPool.source)) {
      violations.append("a volume \(what) while a guest had it open")
    }
  }
}
