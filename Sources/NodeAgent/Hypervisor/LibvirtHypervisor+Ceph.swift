import AloftModel
import Libvirt

extension LibvirtHypervisor {
  /// libvirtd forgets the keys of clusters when it ends: it gets them before each start and each disk. A guest without such disks
  /// does without; with them, libvirtd refuses what it has no key for.
  func provideKeys() async {
    for access in ceph {
      let usage = "aloft client.\(access.client) of \(access.configuration)"
      do throws(AgentFailure) {
        let key = try access.key()
        try await call { connection throws(LibvirtError) in
          try await connection.setCephSecret(access.secret, usage: usage, key: key)
        }
      } catch {
        logger.warning("libvirt has no key of a cluster", metadata: ["client": "\(usage)", "failure": "\(error)"])
      }
    }
  }

  public func freeze(_ vm: VMID) async throws(AgentFailure) -> Bool {
    let logger = logger
    return try await call(vm) { domain throws(LibvirtError) in
      do throws(LibvirtError) {
        try await domain.freezeFileSystems()
        return true
      } catch {
        guard error.code != .connectionLost, error.code != .noDomain else { throw error }
        logger.info("a snapshot is taken without the guest's agent", metadata: ["vm": "\(vm)", "failure": "\(error)"])
        return false
      }
    }
  }

  public func suspend(_ vm: VMID) async throws(AgentFailure) {
    try await call(vm) { domain throws(LibvirtError) in try await domain.suspend() }
  }

  public func thaw(_ vm: VMID) async throws(AgentFailure) {
    try await call(vm) { domain throws(LibvirtError) in try await domain.thawFileSystems() }
  }
}
