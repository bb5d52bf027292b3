import CLibvirt

extension Domain {
  /// Adds a device by its XML: `<disk>`, `<interface>` and so on.
  public func attach(_ device: String, affect: Affect = .everywhere) async throws(LibvirtError) {
    try await long { domain throws(LibvirtError) in
      let flags = try affect.flags(for: domain)
      _ = try LibvirtError.check(virDomainAttachDeviceFlags(domain, device, flags))
    }
  }

  /// Removes the device that the XML describes (a disk by its target, an interface by its address). From a running guest it
  /// goes when the guest agrees: the event `deviceRemoved` tells, or nothing ever does. Throws `deviceMissing`.
  public func detach(_ device: String, affect: Affect = .everywhere) async throws(LibvirtError) {
    try await long { domain throws(LibvirtError) in
      let flags = try affect.flags(for: domain)
      _ = try LibvirtError.check(virDomainDetachDeviceFlags(domain, device, flags))
    }
  }

  /// Removes the device of this alias, as ``detach(_:affect:)`` does.
  public func detach(alias: String, affect: Affect = .everywhere) async throws(LibvirtError) {
    try await long { domain throws(LibvirtError) in
      let flags = try affect.flags(for: domain)
      _ = try LibvirtError.check(virDomainDetachDeviceAlias(domain, alias, flags))
    }
  }

  /// Changes what can be changed of a device: a CD's medium, an interface's link state or source, VNC's password.
  public func update(_ device: String, affect: Affect = .everywhere) async throws(LibvirtError) {
    try await long { domain throws(LibvirtError) in
      let flags = try affect.flags(for: domain)
      _ = try LibvirtError.check(virDomainUpdateDeviceFlags(domain, device, flags))
    }
  }

  /// Tells a running guest's disk (by target, `vda`, or source path) its new size, growing the image file with it.
  public func resizeBlock(_ disk: String, bytes: UInt64) async throws(LibvirtError) {
    try await long { domain throws(LibvirtError) in
      _ = try LibvirtError.check(virDomainBlockResize(domain, disk, bytes, VIR_DOMAIN_BLOCK_RESIZE_BYTES.rawValue))
    }
  }

  /// A connected socket to the guest's graphics server (VNC), which the caller must close. It needs no TCP port.
  public func openGraphics(index: UInt32 = 0) async throws(LibvirtError) -> Int32 {
    try await long { domain throws(LibvirtError) in
      try LibvirtError.check(virDomainOpenGraphicsFD(domain, index, VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH.rawValue))
    }
  }
}
