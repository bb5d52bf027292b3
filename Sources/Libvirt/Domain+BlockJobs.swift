import CLibvirt

extension Domain {
  /// Starts to copy into a running guest's newest image what it reads from the images below it, down to `base`, over which it
  /// lies when the job has ended (`virDomainBlockRebase`). `base` is a path or an index such as `vda[2]`; nil: everything.
  /// Names of images stay relative where they are.
  public func pullBlocks(_ disk: String, base: String?) async throws(LibvirtError) {
    let flags = base == nil ? 0 : VIR_DOMAIN_BLOCK_REBASE_RELATIVE.rawValue
    try await long { domain throws(LibvirtError) in
      _ = try LibvirtError.check(virDomainBlockRebase(domain, disk, base, 0, flags))
    }
  }

  /// Whether a job (pull, commit, copy) is under way on a running guest's disk.
  public func hasBlockJob(_ disk: String) async throws(LibvirtError) -> Bool {
    try await quick { domain throws(LibvirtError) in
      var info = virDomainBlockJobInfo()
      return try LibvirtError.check(virDomainGetBlockJobInfo(domain, disk, &info, 0)) == 1
    }
  }
}
