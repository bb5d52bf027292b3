import AloftModel
import NodeAgent

/// The hypervisor of a ``SimulatedHost``, as one life of its agent sees it.
public struct SimulatedHypervisor: Hypervisor {
  let host: SimulatedHost
  let epoch: Int

  public init(_ host: SimulatedHost) {
    self.host = host
    epoch = host.epoch
  }

  private func effect(
    _ body: (inout SimulatedHost.State) throws(AgentFailure) -> Void
  ) throws(AgentFailure) {
    let epoch = epoch
    try host.state.withLock { state throws(AgentFailure) in
      try state.admit(epoch, mutates: true)
      try body(&state)
      try state.maybeCrashAfter()
    }
  }

  /// An effect on a domain that must exist, after which its change is told.
  private func change(
    _ vm: VMID, when isRight: (DomainPower) -> Bool = { _ in true },
    _ body: (inout SimulatedHost.Domain, inout SimulatedHost.State) -> Void
  ) throws(AgentFailure) {
    try effect { state throws(AgentFailure) in
      guard var domain = state.domains[vm], isRight(domain.power) else {
        throw AgentFailure(.changedMeanwhile, "simulated: \(vm) is not in the right state")
      }
      body(&domain, &state)
      state.domains[vm] = domain
      state.tell(.changed(vm))
    }
  }

  public func facts() async throws(AgentFailure) -> HypervisorFacts { HypervisorFacts(offersKVM: true) }

  public func domains() async throws(AgentFailure) -> [VMDomain] {
    let epoch = epoch
    return try host.state.withLock { state throws(AgentFailure) in
      try state.admit(epoch, mutates: false)
      return state.domains.map { VMDomain(vm: $0.key, tag: $0.value.tag, power: $0.value.power) }
        .sorted { $0.vm.description < $1.vm.description }
    }
  }

  public func domain(_ vm: VMID) async throws(AgentFailure) -> VMDomain? {
    let epoch = epoch
    return try host.state.withLock { state throws(AgentFailure) in
      try state.admit(epoch, mutates: false)
      return state.domains[vm].map { VMDomain(vm: vm, tag: $0.tag, power: $0.power) }
    }
  }

  public func define(_ specification: DomainSpecification) async throws(AgentFailure) {
    try effect { state in
      if state.domains[specification.vm] == nil {
        state.domains[specification.vm] = SimulatedHost.Domain(tag: specification.tag, power: .off(.unknown))
      } else {
        state.domains[specification.vm]?.tag = specification.tag
      }
      state.domains[specification.vm]?.definedNICs = (specification.nics ?? []).map {
        DomainNIC(id: $0.id, mac: $0.mac)
      }
      state.domains[specification.vm]?.definedDisks = specification.disks.map {
        DomainDisk(volume: $0.volume, source: $0.source, target: "vd", limits: $0.limits)
      }
      state.tell(.changed(specification.vm))
    }
  }

  public func start(_ vm: VMID, held: Bool) async throws(AgentFailure) {
    guard host.files(vm).seed else { throw AgentFailure(.hypervisorRefused, "simulated: \(vm) has no seed") }
    try change(vm, when: { !$0.isActive }) { domain, state in
      domain.disks = domain.definedDisks
      state.checkSources(domain.disks, "was started on")
      domain.power = held ? .paused(.asked) : .running
      domain.nics = domain.definedNICs
      domain.starts += 1
      state.records[vm, default: SimulatedHost.Record()].starts += 1
      domain.offAt = nil
    }
  }

  public func resume(_ vm: VMID) async throws(AgentFailure) {
    try change(vm, when: { $0.isActive }) { domain, state in
      domain.power = .running
      if !domain.nics.isEmpty, state.faults.portsAreMissing { domain.ranWithoutPorts = true }
    }
  }

  public func nics(of vm: VMID) async throws(AgentFailure) -> [DomainNIC] {
    let epoch = epoch
    return try host.state.withLock { state throws(AgentFailure) in
      try state.admit(epoch, mutates: false)
      guard let domain = state.domains[vm], domain.power.isActive else { return [] }
      return domain.nics
    }
  }

  public func plug(_ nic: NICSpecification, into vm: VMID) async throws(AgentFailure) {
    try change(vm, when: { $0.isActive }) { domain, _ in
      if !domain.nics.contains(where: { $0.id == nic.id }) { domain.nics.append(DomainNIC(id: nic.id, mac: nic.mac)) }
    }
  }

  public func unplug(_ nic: NICID, from vm: VMID) async throws(AgentFailure) {
    try change(vm, when: { $0.isActive }) { domain, state in
      if state.guests[vm]?.keepsNICs != true { domain.nics.removeAll { $0.id == nic } }
    }
  }

  public func disks(of vm: VMID) async throws(AgentFailure) -> [DomainDisk] {
    let epoch = epoch
    return try host.state.withLock { state throws(AgentFailure) in
      try state.admit(epoch, mutates: false)
      guard let domain = state.domains[vm], domain.power.isActive else { return [] }
      return domain.disks
    }
  }

  public func openSources() async throws(AgentFailure) -> Set<DiskSource> {
    let epoch = epoch
    return try host.state.withLock { state throws(AgentFailure) in
      try state.admit(epoch, mutates: false)
      return state.openSources
    }
  }

  public func attach(_ disk: DiskSpecification, to vm: VMID) async throws(AgentFailure) {
    try change(vm, when: { $0.isActive }) { domain, state in
      guard !domain.disks.contains(where: { $0.volume == disk.volume }) else { return }
      domain.disks.append(
        DomainDisk(volume: disk.volume, source: disk.source, target: "vd", limits: disk.limits))
      state.checkSources(domain.disks.suffix(1), "was given")
    }
  }

  public func detach(_ volume: VolumeID, from vm: VMID) async throws(AgentFailure) {
    try change(vm, when: { $0.isActive }) { domain, state in
      if state.guests[vm]?.keepsDisks != true { domain.disks.removeAll { $0.volume == volume } }
    }
  }

  public func limit(_ disk: DomainDisk, of vm: VMID, to limits: IOLimits) async throws(AgentFailure) {
    try change(vm, when: { $0.isActive }) { domain, _ in
      guard let index = domain.disks.firstIndex(where: { $0.volume == disk.volume }) else { return }
      domain.disks[index].limits = limits
    }
  }

  public func resize(_ disk: DomainDisk, of vm: VMID, to bytes: Int) async throws(AgentFailure) {
    try change(vm, when: { $0.isActive }) { _, state in
      let before = state.volumes[disk.volume]?.sizeBytes ?? 0
      state.volumes[disk.volume]?.sizeBytes = max(before, bytes)
    }
  }

  public func switchDisks(_ disks: [DiskSwitch], of vm: VMID, quiesce: Bool) async throws(AgentFailure) -> Bool {
    try change(vm, when: { $0.isActive }) { domain, state in
      for change in disks {
        guard let index = domain.disks.firstIndex(where: { $0 == change.disk }) else { continue }
        domain.disks[index].source = change.source
        state.checkSources([domain.disks[index]], "was switched to")
      }
    }
    return quiesce && host.state.withLock { $0.guests[vm]?.hasAgent ?? true }
  }

  public func shutdown(_ vm: VMID) async throws(AgentFailure) {
    try change(vm, when: { $0.isActive }) { domain, state in
      let guest = state.guests[vm] ?? SimulatedHost.Guest()
      if !guest.ignoresACPI, domain.offAt == nil { domain.offAt = state.uptime + guest.shutdownTime }
    }
  }

  public func destroy(_ vm: VMID) async throws(AgentFailure) {
    try effect { state in
      guard state.domains[vm]?.power.isActive == true else { return }
      state.domains[vm]?.power = .off(.destroyed)
      state.records[vm, default: SimulatedHost.Record()].stops += 1
      state.domains[vm]?.offAt = nil
      state.tell(.changed(vm))
    }
  }

  public func reboot(_ vm: VMID) async throws(AgentFailure) {
    try change(vm, when: { $0.isActive }) { domain, state in
      domain.reboots += 1
      state.records[vm, default: SimulatedHost.Record()].reboots += 1
    }
  }

  public func reset(_ vm: VMID) async throws(AgentFailure) {
    try change(vm, when: { $0.isActive }) { domain, state in
      domain.resets += 1
      state.records[vm, default: SimulatedHost.Record()].reboots += 1
    }
  }

  public func undefine(_ vm: VMID) async throws(AgentFailure) {
    try effect { state throws(AgentFailure) in
      if state.domains[vm]?.power.isActive == true {
        throw AgentFailure(.changedMeanwhile, "simulated: \(vm) runs")
      }
      state.domains[vm] = nil
      state.tell(.changed(vm))
    }
  }

  public func setTag(_ tag: DomainTag, name: String, of vm: VMID) async throws(AgentFailure) {
    try change(vm) { domain, _ in domain.tag = tag }
  }

  public func events() async -> AsyncStream<HypervisorEvent> {
    let (stream, continuation) = AsyncStream.makeStream(of: HypervisorEvent.self)
    continuation.yield(.resynchronize)
    host.state.withLock { $0.listeners.append(continuation) }
    return stream
  }
}

/// The storage of a ``SimulatedHost``.
public struct SimulatedStorage: NodeStorage {
  let host: SimulatedHost
  let epoch: Int
  let fetchesContent: Bool

  /// - Parameter fetchesContent: whether images are asked for from the control plane; else every image counts as fetched.
  public init(_ host: SimulatedHost, fetchesContent: Bool = true) {
    self.host = host
    self.fetchesContent = fetchesContent
    epoch = host.epoch
  }

  public func paths(of vm: VMID) -> VMPaths {
    VMPaths(seed: "/simulated/\(vm)/seed.iso", serialLog: "/simulated/\(vm)/log")
  }

  public func pool(_ name: String) -> (any VolumeBackend)? {
    name == DirectoryStorage.localPool ? SimulatedPool(host, epoch: epoch, fetchesContent: fetchesContent) : nil
  }

  public func pools() async -> [NodeStoragePool] {
    [
      NodeStoragePool(
        name: DirectoryStorage.localPool, kind: .directory, totalBytes: 1 << 42, freeBytes: 1 << 42, usedBytes: 0)
    ]
  }

  public func contents() async throws(AgentFailure) -> NodeContents {
    host.state.withLock { state in
      NodeContents(
        vms: Set(state.files.keys),
        pools: [DirectoryStorage.localPool: PoolContents(volumes: Set(state.volumes.keys))])
    }
  }

  public func files(of vm: VMID) async throws(AgentFailure) -> VMFiles {
    let epoch = epoch
    return try host.state.withLock { state throws(AgentFailure) in
      guard epoch == state.epoch else { throw .crashed }
      return state.files[vm] ?? VMFiles()
    }
  }

  private func effect(
    _ body: (inout SimulatedHost.State) throws(AgentFailure) -> Void
  ) throws(AgentFailure) {
    let epoch = epoch
    try host.state.withLock { state throws(AgentFailure) in
      guard epoch == state.epoch else { throw .crashed }
      try state.maybeCrashBefore()
      try body(&state)
      try state.maybeCrashAfter()
    }
  }

  private func make(_ vm: VMID, _ body: (inout VMFiles) -> Void) throws(AgentFailure) {
    try effect { state throws(AgentFailure) in
      if state.faults.diskIsFull {
        state.count("disk full")
        throw AgentFailure(.diskFull, "simulated: the disk is full")
      }
      body(&state.files[vm, default: VMFiles()])
      state.files[vm]?.any = true
    }
  }

  public func createSeed(_ seed: Seed) async throws(AgentFailure) { try make(seed.vm) { $0.seed = true } }
  public func remove(_ vm: VMID) async throws(AgentFailure) { try effect { $0.files[vm] = nil } }

  public func space() async throws(AgentFailure) -> StorageSpace { StorageSpace(total: 1 << 40, free: 1 << 40) }
  public func supportsDirectIO() async -> Bool { true }
  public func boundSerialLogs() async throws(AgentFailure) {}

  public func serialLog(of vm: VMID) async throws(AgentFailure) -> any SerialLogReader {
    throw AgentFailure(.unsupported, "simulated guests write nothing")
  }
}

/// The journal of a ``SimulatedHost``: durable as soon as it is written.
public struct SimulatedJournal: Journal {
  let host: SimulatedHost
  let epoch: Int

  public init(_ host: SimulatedHost) {
    self.host = host
    epoch = host.epoch
  }

  public func view(of vm: VMID) async -> VMJournal { host.journal(vm) }

  public func append(_ record: JournalRecord) async throws(AgentFailure) {
    let epoch = epoch
    try host.state.withLock { state throws(AgentFailure) in
      guard epoch == state.epoch else { throw .crashed }
      try state.maybeCrashBefore()
      state.journal.apply(record)
      try state.maybeCrashAfter()
    }
  }

  public func compact(keeping listed: Set<VMRequestID>, before: Int) async throws(AgentFailure) {
    host.state.withLock { $0.journal.drop(keeping: listed, before: before) }
  }
}
