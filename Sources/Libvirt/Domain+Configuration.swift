import CLibvirt
import Foundation

extension Domain {
  /// Which XML to read.
  public enum Description: Sendable {
    /// What runs if the guest runs, with run-time details such as aliases and ports; else the stored definition.
    case current
    /// The stored definition: what the next start uses.
    case stored
  }

  public func name() async throws(LibvirtError) -> String {
    try await quick { domain throws(LibvirtError) in Domain.name(of: domain) }
  }

  public func isActive() async throws(LibvirtError) -> Bool {
    try await quick { domain throws(LibvirtError) in try LibvirtError.check(virDomainIsActive(domain)) == 1 }
  }

  /// The domain's XML. `secrets` includes passwords, such as VNC's.
  public func xml(_ description: Description = .current, secrets: Bool = false) async throws(LibvirtError) -> String {
    try await quick { domain throws(LibvirtError) in
      var flags: UInt32 = 0
      if description == .stored { flags |= VIR_DOMAIN_XML_INACTIVE.rawValue }
      if secrets { flags |= VIR_DOMAIN_XML_SECURE.rawValue }
      return try takeString(virDomainGetXMLDesc(domain, flags))
    }
  }

  /// The metadata element under a namespace, as XML without the prefix's declaration; nil if there is none.
  public func metadata(namespace: String) async throws(LibvirtError) -> String? {
    try await quick { domain throws(LibvirtError) in
      do throws(LibvirtError) {
        return try takeString(
          virDomainGetMetadata(domain, Int32(VIR_DOMAIN_METADATA_ELEMENT.rawValue), namespace, 0))
      } catch {
        if error.code == .noDomainMetadata { return nil }
        throw error
      }
    }
  }

  /// Sets the one metadata element under a namespace, or removes it with nil. `prefix` is used when it is written.
  public func setMetadata(
    _ element: String?, namespace: String, prefix: String, affect: Affect = .everywhere
  ) async throws(LibvirtError) {
    try await long { domain throws(LibvirtError) in
      let flags = try affect.flags(for: domain)
      _ = try LibvirtError.check(
        virDomainSetMetadata(
          domain, Int32(VIR_DOMAIN_METADATA_ELEMENT.rawValue), element, element == nil ? nil : prefix, namespace, flags)
      )
    }
  }

  /// Gives a domain that is off another name; its UUID stays. Throws `operationInvalid` while it runs.
  public func rename(_ name: String) async throws(LibvirtError) {
    try await long { domain throws(LibvirtError) in _ = try LibvirtError.check(virDomainRename(domain, name, 0)) }
  }

  /// Whether libvirtd starts the domain when the host boots.
  public func setAutostart(_ autostart: Bool) async throws(LibvirtError) {
    try await long { domain throws(LibvirtError) in
      _ = try LibvirtError.check(virDomainSetAutostart(domain, autostart ? 1 : 0))
    }
  }

  public func autostart() async throws(LibvirtError) -> Bool {
    try await quick { domain throws(LibvirtError) in
      var value: Int32 = 0
      try LibvirtError.check(virDomainGetAutostart(domain, &value))
      return value != 0
    }
  }

  /// Sets the guest's memory in KiB: the balloon's target of a running guest, at most its maximum.
  public func setMemory(kibibytes: UInt, affect: Affect = .everywhere) async throws(LibvirtError) {
    try await long { domain throws(LibvirtError) in
      let flags = try affect.flags(for: domain)
      _ = try LibvirtError.check(virDomainSetMemoryFlags(domain, kibibytes, flags))
    }
  }

  /// Sets the most memory in KiB the guest can get. Only the stored definition can be changed.
  public func setMaximumMemory(kibibytes: UInt) async throws(LibvirtError) {
    let flags = VIR_DOMAIN_AFFECT_CONFIG.rawValue | VIR_DOMAIN_MEM_MAXIMUM.rawValue
    try await long { domain throws(LibvirtError) in
      _ = try LibvirtError.check(virDomainSetMemoryFlags(domain, kibibytes, flags))
    }
  }

  /// Sets the number of processors the guest has, at most its maximum. QEMU without KVM may crash on taking some away.
  public func setVCPUs(_ count: UInt32, affect: Affect = .everywhere) async throws(LibvirtError) {
    try await long { domain throws(LibvirtError) in
      let flags = try affect.flags(for: domain)
      _ = try LibvirtError.check(virDomainSetVcpusFlags(domain, count, flags))
    }
  }

  /// Sets the most processors the guest can get. Only the stored definition can be changed.
  public func setMaximumVCPUs(_ count: UInt32) async throws(LibvirtError) {
    let flags = VIR_DOMAIN_AFFECT_CONFIG.rawValue | VIR_DOMAIN_VCPU_MAXIMUM.rawValue
    try await long { domain throws(LibvirtError) in
      _ = try LibvirtError.check(virDomainSetVcpusFlags(domain, count, flags))
    }
  }
}
