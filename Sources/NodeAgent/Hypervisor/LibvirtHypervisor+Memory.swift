import AloftModel
import Foundation
import Libvirt

extension LibvirtHypervisor {
  /// Between looks at how far the writing is.
  private static let look = Duration.milliseconds(250)

  public func switchDisks(
    _ disks: [DiskSwitch], of vm: VMID, writingMemoryTo file: String,
    progress: @escaping @Sendable (Int, Int) -> Void
  ) async throws(AgentFailure) {
    let logger = logger
    try await call(vm) { domain throws(LibvirtError) in
      let all = try ParsedXML(try await domain.xml()).all("/domain/devices/disk/target")
        .compactMap { $0.attribute("dev") }
      let xml = Self.snapshotXML(disks, all: all, memory: file)
      let watch = Task { await Self.watch(domain, progress) }
      let result: Result<Void, LibvirtError>
      do throws(LibvirtError) {
        _ = try await domain.createSnapshot(xml, [.live, .atomic, .noMetadata, .reuseFiles])
        result = .success(())
      } catch { result = .failure(error) }
      watch.cancel()
      if await watch.value {
        // Where libvirt has not let it go on.
        do throws(LibvirtError) {
          if case .paused = try await domain.state() { try await domain.resume() }
        } catch { logger.warning("a guest stands still", metadata: ["vm": "\(vm)", "failure": "\(error)"]) }
      }
      try result.get()
    }
  }

  /// Tells how far it is, until it is cancelled. A guest that writes faster to its memory than that is written to the file would have it
  /// written for ever: when as much was written as there is, the guest stands still for the rest. Returns whether it does.
  private static func watch(_ domain: Domain, _ progress: @Sendable (Int, Int) -> Void) async -> Bool {
    while true {
      do { try await Task.sleep(for: look) } catch { return false }
      guard let job = try? await domain.jobProgress(), let total = job.dataTotal, let done = job.dataProcessed,
        total > 0
      else { continue }
      progress(Int(clamping: min(done, total)), Int(clamping: total))
      guard done >= total, job.dataRemaining ?? 0 > 0, !Task.isCancelled else { continue }
      do throws(LibvirtError) {
        try await domain.suspend()
        return true
      } catch { continue }
    }
  }

  public func memoryBytes(of vm: VMID) async throws(AgentFailure) -> Int {
    try await call(vm) { domain throws(LibvirtError) in
      try MachineShape(inDomain: try await domain.xml()).memoryMib << 20
    }
  }

  public func isWritingMemory(of vm: VMID) async throws(AgentFailure) -> Bool {
    try await call(vm) { domain throws(LibvirtError) in try await domain.jobProgress() != nil }
  }

  public func restore(
    _ document: Assignment, from file: String, sources: [VolumeID: DiskSource]
  ) async throws(AgentFailure) {
    let saved: String
    do throws(AgentFailure) {
      saved = try await call { connection throws(LibvirtError) in try await connection.savedDefinition(in: file) }
    } catch { throw error.ofMemory }
    let shape: MachineShape
    let xml: String
    do throws(LibvirtError) {
      shape = try MachineShape(inDomain: saved)
      var files: [String: String] = [:]
      for (volume, source) in sources {
        guard case .file(let path) = source else {
          throw LibvirtError(.notSupported, message: "\(volume) is in a pool that nodes share")
        }
        files[DiskSpecification.alias(of: volume)] = path
      }
      xml = try SavedMemory.xml(saved, replacing: files)
    } catch { throw AgentFailure(.memoryUnusable, "\(file): \(error)") }
    let differences = shape.differences(to: document.shape)
    guard differences.isEmpty else {
      throw AgentFailure(
        .memoryMismatch,
        "the machine is not what it was when its memory was kept: \(differences.joined(separator: "; "))")
    }
    do throws(AgentFailure) {
      try await call { connection throws(LibvirtError) in
        try await connection.restore(file, definition: xml, paused: true)
      }
    } catch { throw error.ofMemory }
  }

  public func setTime(of vm: VMID, to wall: Int) async {
    do throws(AgentFailure) {
      try await call(vm) { domain throws(LibvirtError) in
        try await domain.setTime(wall / 1000, nanoseconds: UInt32(wall % 1000) * 1_000_000)
      }
    } catch {
      logger.info("a guest's clock was not set", metadata: ["vm": "\(vm)", "failure": "\(error)"])
    }
  }
}

extension AgentFailure {
  /// What libvirt and QEMU say when they cannot load memory, whatever it is, is about the memory.
  fileprivate var ofMemory: AgentFailure {
    switch kind {
    case .hypervisorRefused, .unsupported:
      AgentFailure(.memoryUnusable, "the guest's memory cannot be loaded: \(detail)")
    default: self
    }
  }
}

extension MachineShape {
  /// What a domain's definition has.
  init(inDomain xml: String) throws(LibvirtError) {
    let domain = try ParsedXML(xml)
    let unit = domain.text("/domain/memory/@unit") ?? "KiB"
    let memory = domain.integer("/domain/memory") ?? 0
    let disks = domain.all("/domain/devices/disk").compactMap { element -> Disk? in
      guard let uuid = element.text("alias/@name").flatMap(DiskSpecification.volume(ofAlias:)),
        let id = UUID(uuidString: uuid), let bus = element.text("target/@bus").flatMap(DiskBus.init(rawValue:))
      else { return nil }
      return Disk(volume: VolumeID(id), bus: bus)
    }
    self.init(
      vcpus: domain.integer("/domain/vcpu") ?? 0, memoryMib: unit == "MiB" ? memory : memory / 1024, disks: disks,
      nics: try DomainNIC.all(inDomain: xml).map { NIC(id: $0.id, mac: $0.mac) })
  }
}
