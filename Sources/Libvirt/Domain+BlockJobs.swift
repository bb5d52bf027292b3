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

  /// Starts to copy a running guest's disk, with all that lies below it, to one that is there already, and that has nothing yet
  /// (`virDomainBlockCopy`). Whatever the guest writes goes to both from the moment on at which both are the same.
  /// The job is forgotten when the guest ends.
  public func copyBlocks(_ disk: String, to xml: String) async throws(LibvirtError) {
    let flags =
      VIR_DOMAIN_BLOCK_COPY_REUSE_EXT.rawValue | VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB.rawValue
      | VIR_DOMAIN_BLOCK_COPY_SYNCHRONOUS_WRITES.rawValue
    try await long { domain throws(LibvirtError) in
      _ = try LibvirtError.check(virDomainBlockCopy(domain, disk, xml, nil, 0, flags))
    }
  }

  /// Ends a copy, and returns when it has ended: by going over to the copy, or by staying.
  public func endBlockJob(_ disk: String, pivot: Bool) async throws(LibvirtError) {
    let flags = pivot ? VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT.rawValue : 0
    try await long { domain throws(LibvirtError) in
      _ = try LibvirtError.check(virDomainBlockJobAbort(domain, disk, flags))
    }
  }

  /// How much of its work the job on a disk has done; nil: there is none.
  public func blockJobProgress(_ disk: String) async throws(LibvirtError) -> (done: Int, total: Int)? {
    try await quick { domain throws(LibvirtError) in
      var info = virDomainBlockJobInfo()
      guard try LibvirtError.check(virDomainGetBlockJobInfo(domain, disk, &info, 0)) == 1 else { return nil }
      return (Int(clamping: info.cur), Int(clamping: info.end))
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
