import AloftModel

/// Where a VM's files are.
public struct VMPaths: Sendable, Hashable {
  public var seed: String
  public var serialLog: String

  public init(seed: String, serialLog: String) {
    self.seed = seed
    self.serialLog = serialLog
  }
}

/// What a domain's definition is made of besides its document: properties of the host.
public struct DomainPlatform: Sendable, Hashable {
  public var architecture: String
  public var accelerator: Accelerator
  /// The data directory's file system can bypass the page cache, which would hold guests' blocks twice.
  public var directIO: Bool
  /// What guests' packets go through.
  public var datapath: Datapath
  /// The pools of Ceph clusters that the node reaches, by Ceph's names of them.
  public var ceph: [String: CephAccess]

  public init(
    architecture: String, accelerator: Accelerator, directIO: Bool, datapath: Datapath = .kernel,
    ceph: [String: CephAccess] = [:]
  ) {
    self.ceph = ceph
    self.architecture = architecture
    self.accelerator = accelerator
    self.directIO = directIO
    self.datapath = datapath
  }

  func access(to source: DiskSource) -> CephAccess? {
    guard case .rbd(let name) = source, let pool = name.split(separator: "/").first else { return nil }
    return ceph[String(pool)]
  }
}

/// Everything that a domain is defined from.
public struct DomainSpecification: Sendable, Hashable {
  public var vm: VMID
  public var name: String
  public var vcpus: Int
  public var memoryMib: Int
  public var accelerator: Accelerator
  public var paths: VMPaths
  public var platform: DomainPlatform
  public var tag: DomainTag
  /// In the order in which the guest sees them.
  public var disks: [DiskSpecification]
  /// Nil: of a control plane that knows no networks.
  public var nics: [NICSpecification]?

  /// - Parameters:
  ///   - sources: what QEMU is to open for each volume; those without are left out.
  ///   - encryption: of those that are encrypted.
  public init(
    _ document: Assignment, sources: [VolumeID: DiskSource], encryption: [VolumeID: DiskEncryption] = [:],
    paths: VMPaths,
    platform: DomainPlatform, tag: DomainTag
  ) {
    disks = document.specifications(of: sources, encryption, on: platform)
    vm = document.vm
    name = document.name
    vcpus = document.vcpus
    memoryMib = document.memoryMib
    accelerator = Self.accelerator(document.accelerator, of: platform)
    self.paths = paths
    self.platform = platform
    self.tag = tag
    nics = document.nics.map { nics in nics.map { NICSpecification($0, in: document, platform: platform) } }
  }

  private static func accelerator(_ choice: AcceleratorChoice, of platform: DomainPlatform)
    -> Accelerator
  {
    switch choice {
    case .any: platform.accelerator
    case .kvm: .kvm
    case .tcg: .tcg
    }
  }

  /// Changes when the definition would: the domain is then defined again before its next start. What files the volumes lie in
  /// is another matter, which ``DomainTag/disks`` keeps: snapshots change it under a guest that runs.
  public static func digest(_ document: Assignment, paths: VMPaths, platform: DomainPlatform)
    -> String
  {
    let tag = DomainTag(incarnation: 0, generation: 0)
    let sources = Dictionary(document.disks.map { ($0.volume, DiskSource.file("")) }) { first, _ in first }
    let xml = DomainSpecification(document, sources: sources, paths: paths, platform: platform, tag: tag).xml
    // Which volumes are in a cluster is not known here: whatever changes of how one is reached renews all definitions.
    let clusters = platform.ceph.sorted { $0.key < $1.key }.map { "\($0.value)" }
    return Digest.short(([xml] + clusters).joined(separator: "\n"))
  }
}
