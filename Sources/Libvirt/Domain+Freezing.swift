import CLibvirt

extension Domain {
  /// Lets the guest's agent write its caches and hold its file systems still until ``thawFileSystems()``. Returns how many there
  /// are. Throws `agentUnresponsive` without an agent.
  @discardableResult
  public func freezeFileSystems() async throws(LibvirtError) -> Int {
    try await long { domain throws(LibvirtError) in
      Int(try LibvirtError.check(virDomainFSFreeze(domain, nil, 0, 0)))
    }
  }

  /// Ends ``freezeFileSystems()``; nothing happens where nothing is held still.
  public func thawFileSystems() async throws(LibvirtError) {
    try await long { domain throws(LibvirtError) in
      _ = try LibvirtError.check(virDomainFSThaw(domain, nil, 0, 0))
    }
  }
}
