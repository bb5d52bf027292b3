import CLibvirt

extension Domain {
  /// Limits how much a guest reads from and writes to a disk, by target (`virDomainSetBlockIoTune`): `total_iops_sec`,
  /// `read_bytes_sec_max` and so on, as in `<iotune>`. 0 is no limit; what is not named stays as it is.
  public func setBlockIOTune(
    _ disk: String, _ parameters: [(name: String, value: UInt64)], affect: Affect = .everywhere
  ) async throws(LibvirtError) {
    try await long { domain throws(LibvirtError) in
      let flags = try affect.flags(for: domain)
      var (list, count, capacity): (UnsafeMutablePointer<virTypedParameter>?, Int32, Int32) = (nil, 0, 0)
      defer { virTypedParamsFree(list, count) }
      for (name, value) in parameters {
        try LibvirtError.check(virTypedParamsAddULLong(&list, &count, &capacity, name, value))
      }
      _ = try LibvirtError.check(virDomainSetBlockIoTune(domain, disk, list, count, flags))
    }
  }
}
