import AloftModel
import Crypto
import Execution
import FoundationEssentials
import Glibc
import Logging

// The data directory
//
//   images/ layers/ volumes/        the storage pool `local`; see DirectoryPool. Others are in directories of their own
//   vms/<vm-id>/seed.iso            for cloud-init
//   vms/<vm-id>/serial.log          what the guest wrote to its serial port
//
// Names that begin with a dot are half made or half deleted; they are removed when the storage is opened. QEMU runs as
// another user: folders may be passed through, but not listed.

/// The real storage: directories of this host.
public struct DirectoryStorage: NodeStorage {
  public struct Options: Sendable {
    /// Bytes of the file system that are never given to volumes and images.
    public var reserve: Int
    /// How many bytes at the end of a serial log are kept, rounded up to whole pages.
    public var serialLogBytes: Int
    /// Pools beside `local`, by name: directories that exist.
    public var pools: [String: String]
    /// Pools of Ceph clusters, by name.
    public var clusters: [String: CephAccess]

    public init(
      reserve: Int = 0, serialLogBytes: Int = 1 << 20, pools: [String: String] = [:],
      clusters: [String: CephAccess] = [:]
    ) {
      self.clusters = clusters
      self.reserve = reserve
      self.serialLogBytes = serialLogBytes
      self.pools = pools
    }
  }

  let root: String
  let options: Options
  let thread: DedicatedThread
  let local: DirectoryPool
  private let others: [String: OtherPool]
  private let clusters: [String: RBDPool]

  /// The name of the pool in the data directory.
  public static let localPool = "local"

  private init(
    root: String, options: Options, thread: DedicatedThread, local: DirectoryPool, others: [String: OtherPool],
    clusters: [String: RBDPool]
  ) {
    self.clusters = clusters
    self.root = root
    self.options = options
    self.thread = thread
    self.local = local
    self.others = others
  }

  /// Opens the directory, makes its folders, and removes what an earlier process left half done. Only one process may
  /// use a directory at a time; ``DataDirectory`` sees to it.
  public static func open(
    _ root: String, options: Options = Options(), logger: Logger
  ) async throws(AgentFailure) -> DirectoryStorage {
    let thread = DedicatedThread(name: "storage")
    try await thread.run { () throws(AgentFailure) in
      for folder in [root, "\(root)/vms"] { try FileSystem.makeFolder(folder, mode: 0o711) }
      for name in FileSystem.names(in: "\(root)/vms") where name.hasPrefix(".") {
        try FileSystem.delete("\(root)/vms/\(name)")
      }
    }
    let local = try await DirectoryPool.open(localPool, root, reserve: options.reserve, logger: logger)
    var others: [String: OtherPool] = [:]
    for (name, path) in options.pools { others[name] = await OtherPool.open(name, path, logger: logger) }
    var clusters: [String: RBDPool] = [:]
    for (name, access) in options.clusters {
      let pool = RBDPool(name, access, cache: local, logger: logger)
      await pool.lookAtCluster()
      clusters[name] = pool
    }
    return DirectoryStorage(
      root: root, options: options, thread: thread, local: local, others: others, clusters: clusters)
  }

  public func pool(_ name: String) -> (any VolumeBackend)? {
    if name == Self.localPool { return local }
    return others[name]?.pool ?? clusters[name]
  }

  public func pools() async -> [NodeStoragePool] {
    var all = [await local.status()]
    for name in others.keys.sorted() { if let status = await others[name]?.status() { all.append(status) } }
    for name in clusters.keys.sorted() { if let status = await clusters[name]?.status() { all.append(status) } }
    return all
  }

  public func contents() async throws(AgentFailure) -> NodeContents {
    let folder = "\(root)/vms"
    let names = await thread.run { FileSystem.names(in: folder) }
    var contents = NodeContents(vms: Set(names.compactMap { VMID($0) }))
    for pool in [local] + others.values.compactMap(\.pool) { contents.pools[pool.name] = await pool.contents() }
    return contents
  }

  func folder(_ vm: VMID) -> String { "\(root)/vms/\(vm)" }

  public func paths(of vm: VMID) -> VMPaths {
    VMPaths(seed: folder(vm) + "/seed.iso", serialLog: folder(vm) + "/serial.log")
  }

  public func files(of vm: VMID) async throws(AgentFailure) -> VMFiles {
    let (paths, folder) = (paths(of: vm), folder(vm))
    return await thread.run { VMFiles(seed: FileSystem.exists(paths.seed), any: FileSystem.exists(folder)) }
  }

  public func remove(_ vm: VMID) async throws(AgentFailure) {
    let (folder, doomed) = (folder(vm), "\(root)/vms/.deleted-\(vm)")
    try await thread.run { () throws(AgentFailure) in
      try FileSystem.delete(doomed)
      // One rename: the files are all there or all gone, whenever the host dies.
      if FileSystem.exists(folder) { try FileSystem.move(folder, to: doomed) }
      try FileSystem.delete(doomed)
    }
  }

  public func space() async throws(AgentFailure) -> StorageSpace {
    let root = root
    return try await thread.run { () throws(AgentFailure) in
      var space = try FileSystem.space(root)
      space.guests = FileSystem.blocks(under: root + "/vms") + FileSystem.blocks(under: root + "/layers")
      return space
    }
  }

  public func supportsDirectIO() async -> Bool {
    let roots = [root] + others.values.compactMap { $0.pool?.root }
    let probes = roots.map { "\($0)/images/.direct-io" }
    return await thread.run { probes.allSatisfy { Self.supportsDirectIO(at: $0) } }
  }

  private static func supportsDirectIO(at probe: String) -> Bool {
    // O_DIRECT, which Swift's Glibc module leaves out; the same on x86-64 and RISC-V, another bit on ARM.
    #if arch(arm64)
      let direct: Int32 = 0o200000
    #else
      let direct: Int32 = 0o40000
    #endif
    let descriptor = Glibc.open(probe, O_RDWR | O_CREAT | O_CLOEXEC | direct, 0o600)
    if descriptor >= 0 { close(descriptor) }
    unlink(probe)
    return descriptor >= 0
  }
}
