import CLibvirt

extension Domain {
  /// `virDomainCreateFlags`
  public struct StartOptions: OptionSet, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    /// QEMU is there, the guest's processors do not run yet.
    public static let paused = StartOptions(rawValue: VIR_DOMAIN_START_PAUSED.rawValue)
    /// Throw a managed save image away and boot.
    public static let forceBoot = StartOptions(rawValue: VIR_DOMAIN_START_FORCE_BOOT.rawValue)
    /// Make the UEFI variables anew.
    public static let resetNVRAM = StartOptions(rawValue: VIR_DOMAIN_START_RESET_NVRAM.rawValue)
  }

  /// Who asks the guest. Either may be ignored by it: the call's success says that it was asked.
  public enum GuestRequest: Sendable {
    /// The power button.
    case acpi
    /// QEMU's guest agent. Throws `agentUnresponsive` if it does not run.
    case agent
  }

  /// `virDomainUndefineFlagsValues`. libvirt refuses to undefine while something of these exists and is not named.
  public struct UndefineOptions: OptionSet, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    public static let managedSave = UndefineOptions(rawValue: VIR_DOMAIN_UNDEFINE_MANAGED_SAVE.rawValue)
    public static let snapshotsMetadata = UndefineOptions(rawValue: VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA.rawValue)
    public static let checkpointsMetadata = UndefineOptions(rawValue: VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA.rawValue)
    public static let nvram = UndefineOptions(rawValue: VIR_DOMAIN_UNDEFINE_NVRAM.rawValue)
    public static let tpm = UndefineOptions(rawValue: VIR_DOMAIN_UNDEFINE_TPM.rawValue)
    /// What every driver accepts; libvirt's test driver knows no more.
    public static let portable: UndefineOptions = [.managedSave, .snapshotsMetadata]
    public static let everything: UndefineOptions = [.portable, .checkpointsMetadata, .nvram, .tpm]
  }

  /// What the domain does now and why.
  public func state() async throws(LibvirtError) -> DomainState {
    try await quick { domain throws(LibvirtError) in
      var (state, reason) = (Int32(0), Int32(0))
      try LibvirtError.check(virDomainGetState(domain, &state, &reason, 0))
      return DomainState(state: Int(state), reason: Int(reason))
    }
  }

  /// Starts the guest. Throws `operationInvalid` if it runs already.
  public func start(_ options: StartOptions = []) async throws(LibvirtError) {
    try await long { domain throws(LibvirtError) in
      _ = try LibvirtError.check(virDomainCreateWithFlags(domain, options.rawValue))
    }
  }

  /// Stops the guest's processors; QEMU and its memory stay.
  public func suspend() async throws(LibvirtError) {
    try await long { domain throws(LibvirtError) in _ = try LibvirtError.check(virDomainSuspend(domain)) }
  }

  /// Lets the guest's processors run.
  public func resume() async throws(LibvirtError) {
    try await long { domain throws(LibvirtError) in _ = try LibvirtError.check(virDomainResume(domain)) }
  }

  /// Asks the guest to power off.
  public func shutdown(_ request: GuestRequest = .acpi) async throws(LibvirtError) {
    let flag = request == .acpi ? VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN : VIR_DOMAIN_SHUTDOWN_GUEST_AGENT
    try await long { domain throws(LibvirtError) in
      _ = try LibvirtError.check(virDomainShutdownFlags(domain, flag.rawValue))
    }
  }

  /// Asks the guest to reboot.
  public func reboot(_ request: GuestRequest = .acpi) async throws(LibvirtError) {
    let flag = request == .acpi ? VIR_DOMAIN_REBOOT_ACPI_POWER_BTN : VIR_DOMAIN_REBOOT_GUEST_AGENT
    try await long { domain throws(LibvirtError) in
      _ = try LibvirtError.check(virDomainReboot(domain, flag.rawValue))
    }
  }

  /// Presses the reset button: the guest restarts without being asked.
  public func reset() async throws(LibvirtError) {
    try await long { domain throws(LibvirtError) in _ = try LibvirtError.check(virDomainReset(domain, 0)) }
  }

  /// Pulls the plug. `graceful` lets QEMU write its caches and throws `resourceBusy` or `systemError` if it does not end in
  /// libvirt's time, instead of killing it. Throws `operationInvalid` if the guest does not run.
  public func destroy(graceful: Bool = false) async throws(LibvirtError) {
    let flag = graceful ? VIR_DOMAIN_DESTROY_GRACEFUL : VIR_DOMAIN_DESTROY_DEFAULT
    try await long { domain throws(LibvirtError) in
      _ = try LibvirtError.check(virDomainDestroyFlags(domain, flag.rawValue))
    }
  }

  /// Removes the stored definition. A running guest goes on as a transient one. Disks are not touched.
  public func undefine(_ options: UndefineOptions = .everything) async throws(LibvirtError) {
    try await long { domain throws(LibvirtError) in
      _ = try LibvirtError.check(virDomainUndefineFlags(domain, options.rawValue))
    }
  }

  /// Writes the guest's memory to a file of libvirt's and stops it; the next ``start(_:)`` goes on from there.
  public func managedSave() async throws(LibvirtError) {
    try await long { domain throws(LibvirtError) in _ = try LibvirtError.check(virDomainManagedSave(domain, 0)) }
  }
}
