import AloftModel

/// What Aloft keeps in a domain's `<metadata>`: libvirt is the agent's own database.
public struct DomainTag: Sendable, Hashable {
  /// The incarnation that the domain belongs to.
  public var incarnation: Int
  /// The newest document that was applied to the domain. Older ones are old news.
  public var generation: Int
  /// The newest generation under which the domain was seen running; 0: it never ran. A guest that is off at the
  /// generation it ran at, without having been asked, turned itself off.
  public var ranGeneration: Int
  /// The guest turned itself off. Kept here because libvirtd forgets why a domain is off when it restarts.
  public var guestStopped: Bool
  /// The guest was asked to shut down, did not in time, and its power was cut. Until it runs again.
  public var powerCut: Bool
  /// A digest of everything the definition was made of; see ``DomainSpecification/digest``.
  public var digest: String
  /// A digest of what the definition lets QEMU open for the volumes.
  public var disks: String
  /// The request by which the guest went on from memory last: it was about to run when this was written.
  public var resumed: VMRequestID?

  public init(
    incarnation: Int, generation: Int, ranGeneration: Int = 0, guestStopped: Bool = false, powerCut: Bool = false,
    digest: String = "", disks: String = "", resumed: VMRequestID? = nil
  ) {
    self.resumed = resumed
    self.disks = disks
    self.incarnation = incarnation
    self.generation = generation
    self.ranGeneration = ranGeneration
    self.guestStopped = guestStopped
    self.powerCut = powerCut
    self.digest = digest
  }
}

/// What a domain does, as far as the agent decides by it.
public enum DomainPower: Sendable, Hashable {
  /// Why a guest's processors stand still.
  public enum PauseCause: Sendable, Hashable { case asked, ioError, other }

  /// Why there is no QEMU process.
  public enum OffCause: Sendable, Hashable, CaseIterable {
    /// Never started, or libvirtd has restarted since.
    case unknown
    /// The guest powered off, by itself or because it was asked.
    case guestShutdown
    /// Somebody destroyed it.
    case destroyed
    /// It crashed, or QEMU died.
    case failed
    /// Its memory was saved; the next start goes on from there.
    case saved
  }

  case running
  case paused(PauseCause)
  /// The guest is powering off; QEMU has not ended yet.
  case shuttingDown
  /// The guest's own power management suspended it.
  case suspended
  /// The guest's kernel panicked; QEMU still holds it.
  case panicked
  case off(OffCause)

  /// Whether a QEMU process exists.
  public var isActive: Bool {
    if case .off = self { false } else { true }
  }
}

/// One of Aloft's domains on this host.
public struct VMDomain: Sendable, Hashable {
  public var vm: VMID
  public var tag: DomainTag
  public var power: DomainPower

  public init(vm: VMID, tag: DomainTag, power: DomainPower) {
    self.vm = vm
    self.tag = tag
    self.power = power
  }
}

/// Which of a VM's files exist.
public struct VMFiles: Sendable, Hashable {
  public var seed: Bool
  /// Something of the VM is on disk, even if half made.
  public var any: Bool

  public init(seed: Bool = false, any: Bool = false) {
    self.seed = seed
    self.any = any
  }
}

/// All that is on the node of one VM.
public struct ActualVM: Sendable, Hashable {
  public var domain: VMDomain?
  public var files: VMFiles
  public var journal: VMJournal
  /// What is plugged into the guest; empty while there is no QEMU, which takes what the definition says.
  public var nics: [DomainNIC]
  public var disks: [DomainDisk]
  /// Of a guest that is held or paused: which of its NICs cannot pass packets yet.
  public var missingPorts: MissingPorts?

  public init(
    domain: VMDomain? = nil, files: VMFiles = VMFiles(), journal: VMJournal = VMJournal(), nics: [DomainNIC] = [],
    disks: [DomainDisk] = [], missingPorts: MissingPorts? = nil
  ) {
    self.disks = disks
    self.domain = domain
    self.files = files
    self.journal = journal
    self.nics = nics
    self.missingPorts = missingPorts
  }
}
