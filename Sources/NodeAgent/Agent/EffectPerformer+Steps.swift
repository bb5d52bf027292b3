import AloftModel
import Logging

extension EffectPerformer {
  func carryOut(_ step: Step, _ document: Assignment, _ volumes: [VolumeAssignment]) async -> AgentFailure? {
    let vm = document.vm
    let started = clock.now().uptime
    do throws(AgentFailure) {
      try await run(step, document, volumes)
      logger.info(
        "\(step.activity): done",
        metadata: [
          "vm": "\(vm)", "generation": "\(document.generation)",
          "ms": "\(clock.now().uptime - started)",
        ])
      return nil
    } catch {
      logger.warning("\(step.activity): failed", metadata: ["vm": "\(vm)", "failure": "\(error)"])
      return error
    }
  }

  private func run(
    _ step: Step, _ document: Assignment, _ documents: [VolumeAssignment]
  ) async throws(AgentFailure) {
    let vm = document.vm
    switch step {
    case .start, .startHeld, .release, .resume, .attach: try await settle(documents, of: vm)
    default: break
    }
    let volumes = await counting(documents)
    if case .resume = step { try await emptyLeaves(of: volumes, for: vm) }
    switch step {
    case .createSeed: try await storage.createSeed(Seed(document))
    case .define(let tag):
      let (sources, encryption) = try await self.sources(of: volumes)
      guard document.sourceDigest(sources, encryption) == tag.disks else {
        throw AgentFailure(.changedMeanwhile, "the volumes of \(vm) are not what they were")
      }
      try await hypervisor.define(
        DomainSpecification(
          document, sources: sources, encryption: encryption, paths: storage.paths(of: vm),
          platform: try await platform(), tag: tag))
    case .start:
      try await refuseOpenElsewhere(volumes)
      try await withKeys(of: volumes) { () async throws(AgentFailure) in try await hypervisor.start(vm, held: false) }
    case .startHeld:
      try await refuseOpenElsewhere(volumes)
      try await networks.removeLeftovers(of: (document.nics ?? []).map(\.id))
      try await withKeys(of: volumes) { () async throws(AgentFailure) in try await hypervisor.start(vm, held: true) }
    case .restore(let memory):
      try await refuseOpenElsewhere(volumes)
      try await networks.removeLeftovers(of: (document.nics ?? []).map(\.id))
      try await restore(memory, document, volumes, sources: try await sources(of: volumes).sources)
    case .release, .resume:
      try await hypervisor.resume(vm)
      // Its clock stood still with it.
      if document.memory != nil { await hypervisor.setTime(of: vm, to: clock.now().wall) }
    case .plug(let nic):
      try await networks.removeLeftovers(of: [nic.id])
      try await hypervisor.plug(NICSpecification(nic, in: document, platform: try await platform()), into: vm)
    case .unplug(let nic): try await hypervisor.unplug(nic, from: vm)
    case .attach(let disk):
      let platform = try await self.platform()
      let (sources, encryption) = try await self.sources(of: volumes)
      guard
        let specification = document.specifications(of: sources, encryption, on: platform).first(
          where: { $0.volume == disk.volume })
      else { throw AgentFailure(.changedMeanwhile, "\(disk.volume) is not ready") }
      let plugged = volumes.filter { $0.volume == disk.volume }
      try await refuseOpenElsewhere(plugged)
      try await withKeys(of: plugged) { () async throws(AgentFailure) in
        try await hypervisor.attach(specification, to: vm)
      }
    case .detach(let volume): try await hypervisor.detach(volume, from: vm)
    case .limit(let disk):
      guard let plugged = try await hypervisor.disks(of: vm).first(where: { $0.volume == disk.volume }) else {
        throw AgentFailure(.changedMeanwhile, "the guest does not have \(disk.volume) any more")
      }
      try await hypervisor.limit(plugged, of: vm, to: disk.limits ?? IOLimits())
    case .requestShutdown:
      // First the journal: a guest that goes off because it was asked must never look like one that went by itself.
      let stop = VMJournal.Stop(incarnation: document.incarnation, askedAt: clock.now().wall)
      if await journal.view(of: vm).stop?.incarnation != document.incarnation {
        try await journal.append(.stopAsked(vm, stop))
      }
      try await hypervisor.shutdown(vm)
    case .forgetStop: try await journal.append(.stopForgotten(vm))
    case .destroy: try await hypervisor.destroy(vm)
    case .undefine: try await hypervisor.undefine(vm)
    case .removeFiles:
      try await storage.remove(vm)
      if await !journal.view(of: vm).isEmpty { try await journal.append(.vmForgotten(vm)) }
    case .setTag(let tag): try await hypervisor.setTag(tag, name: document.name, of: vm)
    case .carryOut(let request):
      try await journal.append(.requestBegun(vm, request.id, at: clock.now().wall))
      switch request.kind {
      case .reboot: try await hypervisor.reboot(vm)
      case .reset: try await hypervisor.reset(vm)
      }
      try await journal.append(.requestDone(vm, request.id, at: clock.now().wall))
    case .completeRequest(let request):
      try await journal.append(.requestDone(vm, request.id, at: clock.now().wall))
    }
  }

  /// What QEMU is to open for volumes that are there.
  private func sources(
    of volumes: [VolumeAssignment]
  ) async throws(AgentFailure) -> (sources: [VolumeID: DiskSource], encryption: [VolumeID: DiskEncryption]) {
    var sources: [VolumeID: DiskSource] = [:]
    var encryption: [VolumeID: DiskEncryption] = [:]
    for document in volumes {
      guard let look = try await storage.pool(document.pool)?.look(document.volume), document.isReady(look),
        case .whole(let stored) = look
      else { continue }
      sources[document.volume] = stored.source
      encryption[document.volume] = stored.encryption
    }
    return (sources, encryption)
  }

  /// Does what opens layers of volumes, of which some may be encrypted.
  func withKeys<Value: Sendable>(
    of volumes: [VolumeAssignment], _ body: () async throws(AgentFailure) -> Value
  ) async throws(AgentFailure) -> Value {
    let keys = Dictionary(volumes.compactMap { document in document.key.map { (document.volume, $0) } }) { first, _ in
      first
    }
    if keys.isEmpty { return try await body() }
    try await hypervisor.provide(keys)
    let result = await attempt(body)
    await hypervisor.forget(Array(keys.keys))
    return try result.get()
  }

  func serve(_ stream: StreamRequest) async {
    do throws(AgentFailure) {
      let log = try await storage.serialLog(of: stream.vm)
      try await SerialLogStream(stream: stream, log: log, clock: clock).send(over: link)
    } catch {
      logger.info(
        "a stream ended",
        metadata: ["vm": "\(stream.vm)", "stream": "\(stream.id)", "failure": "\(error)"])
    }
  }
}
