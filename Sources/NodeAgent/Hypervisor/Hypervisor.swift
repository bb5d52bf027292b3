import AloftModel

/// What the hypervisor says about itself and its host.
public struct HypervisorFacts: Sendable, Hashable {
  /// The hypervisor can run guests on the processor itself, by its own word.
  public var offersKVM: Bool
  /// Versions and the like, shown to operators: `libvirt_version`, `qemu_version`, `cpu_model`.
  public var facts: [String: String]

  public init(offersKVM: Bool, facts: [String: String] = [:]) {
    self.offersKVM = offersKVM
    self.facts = facts
  }
}

/// A volume whose guest is to write to another layer.
public struct DiskSwitch: Sendable, Hashable {
  public var disk: DomainDisk
  /// An empty layer over what the guest writes to now.
  public var source: DiskSource
  public var isEncrypted: Bool

  public init(disk: DomainDisk, to source: DiskSource, isEncrypted: Bool = false) {
    self.isEncrypted = isEncrypted
    self.disk = disk
    self.source = source
  }
}

/// What the hypervisor tells by itself.
public enum HypervisorEvent: Sendable, Hashable {
  /// Something about the VM's domain changed: look at it.
  case changed(VMID)
  /// The host ended the guest's QEMU, which looks like a guest that powered off by itself.
  case endedByHost(VMID)
  /// Events may have been lost, or the hypervisor is back: look at all.
  case resynchronize
}

/// What runs virtual machines on this node.
///
/// Every call names a VM of Aloft; other domains of the host are never seen. Calls may be repeated: destroying what is
/// off or undefining what is gone succeeds. A hypervisor that lacks a function keeps its default, which throws
/// ``AgentFailure/Kind/unsupported``.
public protocol Hypervisor: Sendable {
  func facts() async throws(AgentFailure) -> HypervisorFacts
  /// All of Aloft's domains.
  func domains() async throws(AgentFailure) -> [VMDomain]
  /// One domain, nil if there is none.
  func domain(_ vm: VMID) async throws(AgentFailure) -> VMDomain?
  /// Stores a definition or replaces it. A running guest keeps the old one until it ends.
  func define(_ specification: DomainSpecification) async throws(AgentFailure)
  /// Has the keys of encrypted volumes ready for what opens their layers next; ``forget(_:)`` ends that. Throws
  /// ``AgentFailure/Kind/volumeLocked`` where the hypervisor would write them, or what opens them, to a disk.
  func provide(_ keys: [VolumeID: VolumeKey]) async throws(AgentFailure)
  func forget(_ volumes: [VolumeID]) async
  /// Starts the guest; `held`: with its processors standing still until ``resume(_:)``.
  func start(_ vm: VMID, held: Bool) async throws(AgentFailure)
  /// The NICs that are plugged into the guest; none if it does not run.
  func nics(of vm: VMID) async throws(AgentFailure) -> [DomainNIC]
  /// Plugs a NIC into the guest that runs. The stored definition is another matter: it is renewed before the next start.
  func plug(_ nic: NICSpecification, into vm: VMID) async throws(AgentFailure)
  /// Asks the guest to give a NIC back. It goes when the guest agrees, which ``events()`` tell, or never.
  func unplug(_ nic: NICID, from vm: VMID) async throws(AgentFailure)
  /// The volumes that are plugged into the guest, and what QEMU writes to for them; none if it does not run.
  func disks(of vm: VMID) async throws(AgentFailure) -> [DomainDisk]
  /// What all guests of this host write to or read first, those of others too.
  func openSources() async throws(AgentFailure) -> Set<DiskSource>
  /// Plugs a volume into the guest that runs, as ``plug(_:into:)`` does.
  func attach(_ disk: DiskSpecification, to vm: VMID) async throws(AgentFailure)
  /// Asks the guest to give a volume back, as ``unplug(_:from:)`` does.
  func detach(_ volume: VolumeID, from vm: VMID) async throws(AgentFailure)
  /// Holds the guest that runs to other I/O limits of a volume. The stored definition is another matter.
  func limit(_ disk: DomainDisk, of vm: VMID, to limits: IOLimits) async throws(AgentFailure)
  /// Makes a volume larger under the guest, and tells the guest.
  func resize(_ disk: DomainDisk, of vm: VMID, to bytes: Int) async throws(AgentFailure)
  /// Lets the guest go over to empty layers above those it writes to: all at one instant, or none. Returns whether the guest's
  /// agent brought its file systems to rest; without an agent that answers it is done all the same.
  func switchDisks(_ disks: [DiskSwitch], of vm: VMID, quiesce: Bool) async throws(AgentFailure) -> Bool
  /// Whether QEMU has gone over to this layer, above the one that the hypervisor says the guest writes to.
  func isAhead(_ disk: DomainDisk, of vm: VMID, on layer: DiskSource) async throws(AgentFailure) -> Bool
  /// Begins to bring down what that layer holds to where the hypervisor says the guest writes, and returns when the guest can go back at
  /// once. May be repeated.
  func bringDown(_ disk: DomainDisk, of vm: VMID) async throws(AgentFailure)
  /// Then: has the guest go back, and returns when the layer is not open any more.
  func goBack(_ disk: DomainDisk, of vm: VMID) async throws(AgentFailure)
  /// How much memory a guest has, in bytes.
  func memoryBytes(of vm: VMID) async throws(AgentFailure) -> Int
  /// Whether it is being written to a file.
  func isWritingMemory(of vm: VMID) async throws(AgentFailure) -> Bool
  /// As ``switchDisks(_:of:quiesce:)``, while what the guest's memory holds at that instant is written to a new file; the guest, which
  /// runs, runs on meanwhile and stands still at the end of it.
  ///
  /// - Parameter progress: bytes done, of how many.
  func switchDisks(
    _ disks: [DiskSwitch], of vm: VMID, writingMemoryTo file: String,
    progress: @escaping @Sendable (Int, Int) -> Void
  ) async throws(AgentFailure)
  /// Starts a guest, whose domain is off, from its memory in a file, with its processors standing still. Its volumes are in these
  /// files now. Throws `memoryMismatch` unless the machine is what it was, and `memoryUnusable` if QEMU cannot load it.
  func restore(
    _ document: Assignment, from file: String, sources: [VolumeID: DiskSource]
  ) async throws(AgentFailure)
  /// Has the guest's agent set its clock, in milliseconds since 1970; nothing happens without one.
  func setTime(of vm: VMID, to wall: Int) async
  /// Begins to copy a layer into the one above it, which the guest writes to, and under it; the guest runs on.
  func pull(_ layer: DiskSource, into disk: DomainDisk, of vm: VMID) async throws(AgentFailure)
  /// Whether that is under way.
  func isMerging(_ disk: DomainDisk, of vm: VMID) async throws(AgentFailure) -> Bool
  /// Begins to copy a disk to an empty one that nobody has open; the guest runs on.
  func beginCopy(_ disk: DomainDisk, of vm: VMID, to copy: DiskSpecification) async throws(AgentFailure)
  /// How far that is; nil: nothing is being copied.
  func copyJob(_ disk: DomainDisk, of vm: VMID) async throws(AgentFailure) -> CopyJob?
  /// Has the guest go over to a copy that is ready, and returns when it has.
  func pivot(_ disk: DomainDisk, of vm: VMID) async throws(AgentFailure)
  /// Ends copying; the guest stays where it is, and the copy is not open any more.
  func cancelCopy(_ disk: DomainDisk, of vm: VMID) async throws(AgentFailure)
  /// Has a guest's QEMU write down all that it knows of a file that it has open.
  func flush(_ source: DiskSource, of vm: VMID) async throws(AgentFailure)
  /// Lets the guest's agent bring its file systems to rest; false if there is none that does.
  func freeze(_ vm: VMID) async throws(AgentFailure) -> Bool
  /// Ends that.
  func thaw(_ vm: VMID) async throws(AgentFailure)
  /// Lets a guest that runs stand still, with all that it has written on its disks.
  func suspend(_ vm: VMID) async throws(AgentFailure)
  func resume(_ vm: VMID) async throws(AgentFailure)
  /// Asks the guest to power off.
  func shutdown(_ vm: VMID) async throws(AgentFailure)
  /// Pulls the plug.
  func destroy(_ vm: VMID) async throws(AgentFailure)
  /// Asks the guest to reboot.
  func reboot(_ vm: VMID) async throws(AgentFailure)
  /// Restarts the guest without asking it.
  func reset(_ vm: VMID) async throws(AgentFailure)
  /// Removes the definition of a domain that is off. Disks are not touched.
  func undefine(_ vm: VMID) async throws(AgentFailure)
  /// Replaces the tag in the domain's metadata, running or not.
  func setTag(_ tag: DomainTag, name: String, of vm: VMID) async throws(AgentFailure)
  /// Events from now on. It ends only when the hypervisor is closed, and starts with ``HypervisorEvent/resynchronize``.
  func events() async -> AsyncStream<HypervisorEvent>
}

extension Hypervisor {
  public func facts() async throws(AgentFailure) -> HypervisorFacts { throw .unsupported("facts") }
  public func domains() async throws(AgentFailure) -> [VMDomain] {
    throw .unsupported("listing domains")
  }
  public func domain(_ vm: VMID) async throws(AgentFailure) -> VMDomain? {
    throw .unsupported("looking up domains")
  }
  public func define(_ specification: DomainSpecification) async throws(AgentFailure) {
    throw .unsupported("defining")
  }
  public func provide(_ keys: [VolumeID: VolumeKey]) async throws(AgentFailure) { throw .unsupported("encryption") }
  public func forget(_ volumes: [VolumeID]) async {}
  public func start(_ vm: VMID, held: Bool) async throws(AgentFailure) { throw .unsupported("starting") }
  public func nics(of vm: VMID) async throws(AgentFailure) -> [DomainNIC] { throw .unsupported("network interfaces") }
  public func plug(_ nic: NICSpecification, into vm: VMID) async throws(AgentFailure) {
    throw .unsupported("plugging network interfaces in")
  }
  public func unplug(_ nic: NICID, from vm: VMID) async throws(AgentFailure) {
    throw .unsupported("unplugging network interfaces")
  }
  public func disks(of vm: VMID) async throws(AgentFailure) -> [DomainDisk] { throw .unsupported("disks") }
  public func openSources() async throws(AgentFailure) -> Set<DiskSource> { throw .unsupported("disks") }
  public func attach(_ disk: DiskSpecification, to vm: VMID) async throws(AgentFailure) {
    throw .unsupported("plugging volumes in")
  }
  public func detach(_ volume: VolumeID, from vm: VMID) async throws(AgentFailure) {
    throw .unsupported("unplugging volumes")
  }
  public func limit(_ disk: DomainDisk, of vm: VMID, to limits: IOLimits) async throws(AgentFailure) {
    throw .unsupported("I/O limits")
  }
  public func resize(_ disk: DomainDisk, of vm: VMID, to bytes: Int) async throws(AgentFailure) {
    throw .unsupported("growing volumes")
  }
  public func switchDisks(_ disks: [DiskSwitch], of vm: VMID, quiesce: Bool) async throws(AgentFailure) -> Bool {
    throw .unsupported("snapshots")
  }
  public func switchDisks(
    _ disks: [DiskSwitch], of vm: VMID, writingMemoryTo file: String,
    progress: @escaping @Sendable (Int, Int) -> Void
  ) async throws(AgentFailure) { throw .unsupported("snapshots with memory") }
  public func isAhead(
    _ disk: DomainDisk, of vm: VMID, on layer: DiskSource
  ) async throws(AgentFailure) -> Bool { false }
  public func bringDown(_ disk: DomainDisk, of vm: VMID) async throws(AgentFailure) { throw .unsupported("snapshots") }
  public func goBack(_ disk: DomainDisk, of vm: VMID) async throws(AgentFailure) { throw .unsupported("snapshots") }
  public func memoryBytes(of vm: VMID) async throws(AgentFailure) -> Int { throw .unsupported("memory") }
  public func isWritingMemory(of vm: VMID) async throws(AgentFailure) -> Bool { false }
  public func restore(
    _ document: Assignment, from file: String, sources: [VolumeID: DiskSource]
  ) async throws(AgentFailure) { throw .unsupported("loading memory") }
  public func setTime(of vm: VMID, to wall: Int) async {}
  public func pull(_ layer: DiskSource, into disk: DomainDisk, of vm: VMID) async throws(AgentFailure) {
    throw .unsupported("merging layers")
  }
  public func isMerging(_ disk: DomainDisk, of vm: VMID) async throws(AgentFailure) -> Bool { false }
  public func beginCopy(_ disk: DomainDisk, of vm: VMID, to copy: DiskSpecification) async throws(AgentFailure) {
    throw .unsupported("copying volumes")
  }
  public func copyJob(_ disk: DomainDisk, of vm: VMID) async throws(AgentFailure) -> CopyJob? { nil }
  public func pivot(_ disk: DomainDisk, of vm: VMID) async throws(AgentFailure) {
    throw .unsupported("copying volumes")
  }
  public func cancelCopy(_ disk: DomainDisk, of vm: VMID) async throws(AgentFailure) {}
  public func flush(_ source: DiskSource, of vm: VMID) async throws(AgentFailure) { throw .unsupported("flushing") }
  public func freeze(_ vm: VMID) async throws(AgentFailure) -> Bool { false }
  public func thaw(_ vm: VMID) async throws(AgentFailure) {}
  public func suspend(_ vm: VMID) async throws(AgentFailure) { throw .unsupported("suspending") }
  public func resume(_ vm: VMID) async throws(AgentFailure) { throw .unsupported("resuming") }
  public func shutdown(_ vm: VMID) async throws(AgentFailure) {
    throw .unsupported("shutting down")
  }
  public func destroy(_ vm: VMID) async throws(AgentFailure) { throw .unsupported("destroying") }
  public func reboot(_ vm: VMID) async throws(AgentFailure) { throw .unsupported("rebooting") }
  public func reset(_ vm: VMID) async throws(AgentFailure) { throw .unsupported("resetting") }
  public func undefine(_ vm: VMID) async throws(AgentFailure) { throw .unsupported("undefining") }
  public func setTag(_ tag: DomainTag, name: String, of vm: VMID) async throws(AgentFailure) {
    throw .unsupported("metadata")
  }
  public func events() async -> AsyncStream<HypervisorEvent> { AsyncStream { $0.finish() } }
}

extension AgentFailure {
  static func unsupported(_ function: String) -> AgentFailure {
    AgentFailure(.unsupported, "this hypervisor does not support \(function)")
  }
}
