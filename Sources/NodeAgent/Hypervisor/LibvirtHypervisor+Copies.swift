import AloftModel
import Libvirt

// QEMU copies a disk while its guest runs, and goes over to the copy when it is told to.

extension LibvirtHypervisor {
  private static func mirror(_ target: String) -> String { "/domain/devices/disk[target/@dev='\(target)']/mirror" }

  public func beginCopy(_ disk: DomainDisk, of vm: VMID, to copy: DiskSpecification) async throws(AgentFailure) {
    if copy.ceph != nil { await provideKeys() }
    let xml = copy.destination.string
    try await call(vm) { domain throws(LibvirtError) in try await domain.copyBlocks(disk.target, to: xml) }
  }

  public func copyJob(_ disk: DomainDisk, of vm: VMID) async throws(AgentFailure) -> CopyJob? {
    let path = Self.mirror(disk.target)
    return try await call(vm) { domain throws(LibvirtError) in
      guard let mirror = try ParsedXML(try await domain.xml()).first(path) else { return nil }
      let progress = try await domain.blockJobProgress(disk.target)
      return CopyJob(
        done: progress?.done ?? 0, total: progress?.total ?? 0, isReady: mirror.attribute("ready") == "yes")
    }
  }

  public func pivot(_ disk: DomainDisk, of vm: VMID) async throws(AgentFailure) {
    try await call(vm) { domain throws(LibvirtError) in try await domain.endBlockJob(disk.target, pivot: true) }
  }

  public func cancelCopy(_ disk: DomainDisk, of vm: VMID) async throws(AgentFailure) {
    let path = Self.mirror(disk.target)
    try await call(vm) { domain throws(LibvirtError) in
      guard try ParsedXML(try await domain.xml()).first(path) != nil else { return }
      try await domain.endBlockJob(disk.target, pivot: false)
    }
  }
}
