import Foundation

/// What a host can do, read from `virConnectGetCapabilities`.
public struct Capabilities: Sendable, Hashable {
  /// The host's UUID as libvirtd sees it. libvirt refuses to migrate between two daemons of the same one.
  public var hostUUID: UUID?
  /// `x86_64`, `aarch64` and so on.
  public var architecture: String
  /// The closest named model of the host's processor; nil if libvirt does not recognise it.
  public var cpuModel: String?
  public var cpuVendor: String?
  /// Processor features beyond the model, such as `vmx`.
  public var cpuFeatures: Set<String>
  public var topology: Topology?
  public var numaCells: [NUMACell]
  /// Sizes of huge pages in KiB that the host offers, the ordinary page size included.
  public var pageSizesKiB: [Int]
  public var guests: [Guest]

  /// Per NUMA cell: sockets, cores of a socket, threads of a core.
  public struct Topology: Sendable, Hashable {
    public var sockets, cores, threads: Int
  }

  public struct NUMACell: Sendable, Hashable {
    public var id: Int
    public var memoryKiB: Int
    public var cpus: Int
  }

  /// One kind of guest that can run.
  public struct Guest: Sendable, Hashable {
    public var architecture: String
    /// `hvm` for full virtualisation.
    public var osType: String
    /// `qemu` (emulated) and, if libvirt found it working, `kvm`.
    public var domainTypes: Set<String>
    /// Machine types, with their aliases such as `q35`.
    public var machines: Set<String>
    public var emulator: String?
  }

  /// Reads the document.
  public init(xml: String) throws(LibvirtError) {
    let document = try ParsedXML(xml)
    guard let host = document.first("/capabilities/host") else {
      throw LibvirtError(.invalidXML, message: "a capabilities document without <host>")
    }
    hostUUID = host.text("uuid").flatMap(UUID.init)
    architecture = host.text("cpu/arch") ?? ""
    cpuModel = host.text("cpu/model")
    cpuVendor = host.text("cpu/vendor")
    cpuFeatures = Set(host.all("cpu/feature/@name").compactMap { $0.text(".") })
    topology = host.first("cpu/topology").flatMap { topology in
      guard let sockets = topology.integer("@sockets"), let cores = topology.integer("@cores"),
        let threads = topology.integer("@threads")
      else { return nil }
      return Topology(sockets: sockets, cores: cores, threads: threads)
    }
    numaCells = host.all("topology/cells/cell").compactMap { cell in
      guard let id = cell.integer("@id") else { return nil }
      return NUMACell(id: id, memoryKiB: cell.integer("memory") ?? 0, cpus: cell.integer("cpus/@num") ?? 0)
    }
    pageSizesKiB = host.all("cpu/pages/@size").compactMap { $0.integer(".") }
    guests = document.all("/capabilities/guest").flatMap { guest in
      guest.all("arch").map { arch in
        Guest(
          architecture: arch.text("@name") ?? "", osType: guest.text("os_type") ?? "",
          domainTypes: Set(arch.all("domain/@type").compactMap { $0.text(".") }),
          machines: Set(arch.all(".//machine").compactMap { $0.text(".") }), emulator: arch.text("emulator"))
      }
    }
  }

  /// Whether libvirt offers KVM for guests of the host's own architecture. `/dev/kvm` can exist and still not run guests.
  public var hasKVM: Bool {
    guests.contains { $0.architecture == architecture && $0.osType == "hvm" && $0.domainTypes.contains("kvm") }
  }
}

/// What domains of one kind can have, read from `virConnectGetDomainCapabilities`.
public struct DomainCapabilities: Sendable, Hashable {
  /// The machine type in full, such as `pc-q35-7.2`.
  public var machine: String
  public var maximumVCPUs: Int?
  /// `bios` and, if firmware images are installed, `efi`.
  public var firmwares: Set<String>
  public var hasHostPassthrough: Bool
  /// The named model that `host-model` would become.
  public var hostModel: String?
  /// Named models that run on this host.
  public var usableCPUModels: Set<String>

  /// Reads the document.
  public init(xml: String) throws(LibvirtError) {
    let document = try ParsedXML(xml)
    machine = document.text("/domainCapabilities/machine") ?? ""
    maximumVCPUs = document.integer("/domainCapabilities/vcpu/@max")
    firmwares = Set(document.all("/domainCapabilities/os/enum[@name='firmware']/value").compactMap { $0.text(".") })
    firmwares.insert("bios")
    let modes = "/domainCapabilities/cpu/mode"
    hasHostPassthrough = document.has("\(modes)[@name='host-passthrough' and @supported='yes']")
    hostModel = document.text("\(modes)[@name='host-model' and @supported='yes']/model")
    usableCPUModels = Set(document.all("\(modes)[@name='custom']/model[@usable='yes']").compactMap { $0.text(".") })
  }
}
