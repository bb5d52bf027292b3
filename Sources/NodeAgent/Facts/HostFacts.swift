import AloftModel
import Execution
import Glibc

/// How the accelerator is chosen.
public enum AcceleratorSetting: String, Sendable, CaseIterable { case auto, kvm, tcg }

/// What the operator set aside or fixed.
public struct CapacitySettings: Sendable {
  public var accelerator: AcceleratorSetting = .auto
  /// Nil: what the host has.
  public var vcpus: Int?
  public var memoryMib: Int?
  public var diskGib: Int?
  /// Memory for the host itself; nil: 512 MiB or 5 %, whichever is more.
  public var reservedMemoryMib: Int?
  /// Disk for the host itself; nil: 1 GiB or 5 %, whichever is more.
  public var reservedDiskGib: Int?

  public init() {}
}

/// What the kernel tells about the host.
public struct HostFacts: Sendable, Equatable {
  public var architecture: String
  public var kernel: String
  public var hostname: String
  public var processors: Int
  public var memoryMib: Int
  public var cpuModel: String
  /// The CPU's own flags for virtualization.
  public var vmx: Bool
  public var svm: Bool
  /// This process may use `/dev/kvm`.
  public var kvmDevice: Bool

  /// Asks the kernel.
  public static func read() async -> HostFacts {
    await DedicatedThread(name: "facts").run {
      var name = utsname()
      uname(&name)
      let text = { (path: String) in
        String(decoding: (try? FileSystem.readAll(path)) ?? [], as: UTF8.self)
      }
      let kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC)
      if kvm >= 0 { close(kvm) }
      return HostFacts(
        architecture: string(name.machine), kernel: string(name.release),
        hostname: string(name.nodename),
        processors: max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))), cpuInfo: text("/proc/cpuinfo"),
        memoryInfo: text("/proc/meminfo"), kvmDevice: kvm >= 0)
    }
  }

  /// From the texts of `/proc`.
  init(
    architecture: String, kernel: String, hostname: String, processors: Int, cpuInfo: String,
    memoryInfo: String,
    kvmDevice: Bool
  ) {
    self.architecture = architecture
    self.kernel = kernel
    self.hostname = hostname
    self.processors = processors
    self.kvmDevice = kvmDevice
    let flags = Set((Self.field("flags", of: cpuInfo) ?? "").split(separator: " "))
    vmx = flags.contains("vmx")
    svm = flags.contains("svm")
    cpuModel = Self.field("model name", of: cpuInfo) ?? "unknown"
    let total =
      (Self.field("MemTotal", of: memoryInfo) ?? "").split(separator: " ").first.flatMap { Int($0) }
      ?? 0
    memoryMib = total / 1024
  }

  private static func field(_ name: String, of text: String) -> String? {
    for line in text.split(separator: "\n") {
      let parts = line.split(separator: ":", maxSplits: 1)
      guard parts.count == 2, trimmed(parts[0]) == name else { continue }
      return trimmed(parts[1])
    }
    return nil
  }

  private static func trimmed(_ text: Substring) -> String {
    let isBlank = { (character: Character) in character.isWhitespace }
    return String(text.drop(while: isBlank).reversed().drop(while: isBlank).reversed())
  }

  private static func string(_ tuple: some Any) -> String {
    withUnsafeBytes(of: tuple) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }

  /// KVM needs libvirt, the device and the processor to agree: `/dev/kvm` can exist where no guest runs on it.
  public func accelerator(_ setting: AcceleratorSetting, hypervisorOffersKVM: Bool) -> Accelerator {
    switch setting {
    case .kvm: .kvm
    case .tcg: .tcg
    case .auto: hypervisorOffersKVM && kvmDevice && (vmx || svm) ? .kvm : .tcg
    }
  }

  /// What the control plane is told.
  public func report(
    _ settings: CapacitySettings, hypervisor: HypervisorFacts, space: StorageSpace, version: String
  ) -> NodeReport {
    let reservedMemory = settings.reservedMemoryMib ?? max(512, memoryMib / 20)
    // What is there without guests: what is free, and what they have taken already. What others have taken on the same
    // file system, cached images among it, nobody can be promised.
    let disk = space.free + space.guests - Self.reservedDiskBytes(settings, total: space.total)
    var facts = hypervisor.facts
    facts["cpu_model"] = cpuModel
    facts["vmx"] = String(vmx)
    facts["svm"] = String(svm)
    facts["kernel"] = kernel
    facts["hostname"] = hostname
    facts["agent_version"] = version
    return NodeReport(
      architecture: architecture,
      accelerator: accelerator(settings.accelerator, hypervisorOffersKVM: hypervisor.offersKVM),
      vcpus: settings.vcpus ?? processors,
      memoryMib: settings.memoryMib ?? max(0, memoryMib - reservedMemory),
      diskGib: settings.diskGib ?? max(0, disk >> 30), facts: facts)
  }

  /// Bytes that guests' disks never get.
  public static func reservedDiskBytes(_ settings: CapacitySettings, total: Int) -> Int {
    settings.reservedDiskGib.map { $0 << 30 } ?? max(1 << 30, total / 20)
  }
}
