import AloftModel
import Crypto

/// Where a VM's files are.
public struct VMPaths: Sendable, Hashable {
  public var disk: String
  public var seed: String
  public var serialLog: String

  public init(disk: String, seed: String, serialLog: String) {
    self.disk = disk
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

  public init(architecture: String, accelerator: Accelerator, directIO: Bool, datapath: Datapath = .kernel) {
    self.architecture = architecture
    self.accelerator = accelerator
    self.directIO = directIO
    self.datapath = datapath
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
  /// Nil: of a control plane that knows no networks; the machine then has no room for NICs that come later.
  public var nics: [NICSpecification]?

  public init(_ document: Assignment, paths: VMPaths, platform: DomainPlatform, tag: DomainTag) {
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

  /// Changes when the definition would: the domain is then defined again before its next start.
  public static func digest(_ document: Assignment, paths: VMPaths, platform: DomainPlatform)
    -> String
  {
    let tag = DomainTag(incarnation: 0, generation: 0)
    let xml = DomainSpecification(document, paths: paths, platform: platform, tag: tag).xml
    return SHA256.hash(data: Array(xml.utf8)).prefix(8).map { byte in
      let text = String(byte, radix: 16)
      return byte < 16 ? "0" + text : text
    }.joined()
  }
}
