import AloftModel

/// What the agent wants done. Whoever runs an ``AgentMachine`` carries effects out, in any order and at the same time, and
/// hands the event of each back. An effect whose event never comes is one at which the agent died.
public enum AgentEffect: Sendable, Equatable {
  /// → `listed`
  case listDomains
  /// With the documents of its volumes. → `inspected` or `untouched`
  case inspect(Assignment, [VolumeAssignment])
  /// → `performed`. At most one of `inspect` and `perform` is under way for one VM and its volumes.
  case perform(Step, Assignment, [VolumeAssignment])
  /// → `volumeInspected`
  case inspectVolume(VolumeAssignment)
  /// With the documents of all volumes that the step is about. → any number of `volumeProgress`, then `volumePerformed`
  case performVolume(VolumeStep, VolumeAssignment, [VolumeAssignment])
  /// Ends copying a volume at rest into a pool; its step fails then. Nothing comes back.
  case stopCopy(VolumeID, pool: String)
  /// Into a pool. → any number of `imageProgress`, then `imageFetched`. At most one for one content and pool.
  case fetchImage(Assignment.BaseImage, pool: String)
  /// Sends what a snapshot of a volume holds to the image store. → `exported`. At most one for one image.
  case export(VolumeAssignment.Export, VolumeID, pool: String)
  /// Sends what a snapshot of a volume holds as a backup. → `backedUp`. At most one for one backup.
  case backUp(VolumeAssignment.Backup, VolumeID, pool: String, key: VolumeKey?)
  /// → `polled`. Only one is under way.
  case poll(number: Int, after: Int, waitSeconds: Int)
  /// → `reported`. Only one is under way.
  case report(number: Int, [Observation], [VolumeObservation])
  /// Tells what the node is, and what is on it that nothing needs (nil: not known). → `heartbeatAnswered`. Only one is under way.
  case heartbeat(orphans: [String]?)
  /// Looks at the host again. → `factsRead`
  case readFacts
  /// Looks at everything that is kept on the node. → `contentsRead`
  case readContents
  /// → `renewed`
  case renewIdentity
  /// These are all VMs with NICs, and their networks are to be served; nothing comes back.
  case connect(number: Int, [Assignment])
  /// Brings bytes to a client; nothing comes back.
  case serve(StreamRequest)
  /// Bounds logs and the journal, of which `listed` must be kept, and removes images that no document names and what was kept to
  /// be sent for others than `exports`; nothing comes back.
  case tidy(listed: Set<VMRequestID>, images: Set<String>, exports: Set<ImageID>)
}

/// What happened.
public enum AgentEvent: Sendable {
  /// It is ``AgentMachine/wakeAt`` or later.
  case wake
  case listed(Result<[VMDomain], AgentFailure>)
  case inspected(VMID, Result<Inspection, AgentFailure>)
  /// The hypervisor cannot be asked about the VM, but nothing of it is on this node's disk: its work has not begun.
  case untouched(VMID, AgentFailure)
  case performed(VMID, Step, AgentFailure?)
  case volumeInspected(VolumeID, Result<ActualVolume, AgentFailure>)
  case volumePerformed(VolumeID, VolumeStep, AgentFailure?)
  case imageProgress(sha256: String, pool: String, bytes: Int)
  case imageFetched(sha256: String, pool: String, AgentFailure?)
  case exported(ImageID, AgentFailure?)
  case backedUp(BackupID, AgentFailure?)
  /// How much of a volume was restored or copied, in bytes.
  case volumeProgress(VolumeID, done: Int, total: Int)
  case polled(number: Int, Result<Assignments, AgentFailure>)
  case reported(number: Int, Result<LeaseAnswer, AgentFailure>)
  case heartbeatAnswered(Result<LeaseAnswer, AgentFailure>)
  case factsRead(AgentFailure?)
  case contentsRead(Result<NodeContents, AgentFailure>)
  case renewed(Result<CertificateValidity, AgentFailure>)
  case hypervisor(HypervisorEvent)
  case network(NetworkEvent)
}

/// A look at one VM.
public struct Inspection: Sendable, Hashable {
  public var actual: ActualVM
  /// What the digest of the domain should be by the document that was looked at.
  public var digest: String
  /// What there is of its volumes; those without a document, or whose pool this node does not have, are left out.
  public var volumes: [VolumeID: VolumeLook]

  public init(actual: ActualVM, digest: String, volumes: [VolumeID: VolumeLook] = [:]) {
    self.actual = actual
    self.digest = digest
    self.volumes = volumes
  }
}

/// When a certificate is valid, in milliseconds since 1970.
public struct CertificateValidity: Sendable, Hashable {
  public var notBefore: Int
  public var notAfter: Int

  public init(notBefore: Int, notAfter: Int) {
    self.notBefore = notBefore
    self.notAfter = notAfter
  }

  /// At two thirds of its life there is time left to try again many times.
  public var renewAt: Int { notBefore + (notAfter - notBefore) * 2 / 3 }
}
