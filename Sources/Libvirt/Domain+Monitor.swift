import CLibvirt

extension Domain {
  /// What QEMU answers to a command of its monitor (QMP), both in JSON. libvirt passes it on without looking at it, marks the domain
  /// as tainted, and does not learn what the command has changed.
  public func askMonitor(_ command: String) async throws(LibvirtError) -> String {
    try await long { domain throws(LibvirtError) in
      var answer: UnsafeMutablePointer<CChar>?
      _ = try LibvirtError.check(virDomainQemuMonitorCommand(domain, command, &answer, 0))
      return try takeString(answer)
    }
  }
}
