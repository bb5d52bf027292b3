import AloftModel
import Crypto
import Execution
import FoundationEssentials
import Glibc
import Logging

// The data directory
//
//   images/<sha256>                 read-only, shared by the disks cloned from it
//   vms/<vm-id>/disk.qcow2          the boot disk, a copy-on-write clone
//   vms/<vm-id>/seed.iso            for cloud-init
//   vms/<vm-id>/serial.log          what the guest wrote to its serial port
//
// Names that begin with a dot are half made or half deleted; they are removed when the storage is opened. QEMU runs as
// another user: folders may be passed through, but not listed.

/// The real storage: qcow2 files in a directory.
public struct DirectoryStorage: NodeStorage {
  public struct Options: Sendable {
    /// Bytes of the file system that are never given to guests' disks and images.
    public var reserve: Int
    /// How many bytes at the end of a serial log are kept, rounded up to whole pages.
    public var serialLogBytes: Int

    public init(reserve: Int = 0, serialLogBytes: Int = 1 << 20) {
      self.reserve = reserve
      self.serialLogBytes = serialLogBytes
    }
  }

  let root: String
  let options: Options
  let thread: DedicatedThread
  let logger: Logger

  private init(root: String, options: Options, thread: DedicatedThread, logger: Logger) {
    self.root = root
    self.options = options
    self.thread = thread
    self.logger = logger
  }

  /// Opens the directory, makes its folders, and removes what an earlier process left half done. Only one process may
  /// use a directory at a time; ``DataDirectory`` sees to it.
  public static func open(
    _ root: String, options: Options = Options(), logger: Logger
  ) async throws(AgentFailure) -> DirectoryStorage {
    let thread = DedicatedThread(name: "storage")
    try await thread.run { () throws(AgentFailure) in
      for folder in [root, "\(root)/images", "\(root)/vms"] {
        try FileSystem.makeFolder(folder, mode: 0o711)
      }
      for folder in ["\(root)/images", "\(root)/vms"] {
        for name in FileSystem.names(in: folder) where name.hasPrefix(".") {
          try FileSystem.delete("\(folder)/\(name)")
        }
      }
    }
    return DirectoryStorage(root: root, options: options, thread: thread, logger: logger)
  }

  func folder(_ vm: VMID) -> String { "\(root)/vms/\(vm)" }
  func imagePath(_ sha256: String) -> String { "\(root)/images/\(sha256)" }

  public func paths(of vm: VMID) -> VMPaths {
    VMPaths(
      disk: folder(vm) + "/disk.qcow2", seed: folder(vm) + "/seed.iso",
      serialLog: folder(vm) + "/serial.log")
  }

  public func files(of vm: VMID, image: Assignment.BaseImage) async throws(AgentFailure) -> VMFiles {
    let (paths, folder, imagePath) = (paths(of: vm), folder(vm), imagePath(image.sha256))
    return await thread.run {
      VMFiles(
        disk: FileSystem.exists(paths.disk), seed: FileSystem.exists(paths.seed),
        any: FileSystem.exists(folder),
        image: FileSystem.exists(imagePath))
    }
  }

  public func createDisk(of vm: VMID, from image: Assignment.BaseImage, gib: Int)
    async throws(AgentFailure)
  {
    let (paths, folder) = (paths(of: vm), folder(vm))
    let temporary = folder + "/.disk.qcow2"
    let exists = try await thread.run { () throws(AgentFailure) -> Bool in
      try FileSystem.makeFolder(folder, mode: 0o711)
      if FileSystem.exists(paths.disk) { return true }
      try requireSpace(for: 0)
      try FileSystem.delete(temporary)
      return false
    }
    if exists { return }
    try await Tool.run(
      "qemu-img",
      [
        "create", "-q", "-f", "qcow2", "-F", image.format.rawValue, "-b", imagePath(image.sha256),
        temporary, "\(gib)G",
      ])
    try await thread.run { () throws(AgentFailure) in
      try FileSystem.withFile(paths.serialLog, O_WRONLY | O_CREAT) { _ in }
      try FileSystem.withFile(temporary, O_RDONLY) { file throws(AgentFailure) in
        try FileSystem.sync(file, temporary)
      }
      try FileSystem.move(temporary, to: paths.disk)
      try FileSystem.syncFolder(folder)
    }
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
      space.guests = FileSystem.blocks(under: root + "/vms")
      return space
    }
  }

  public func supportsDirectIO() async -> Bool {
    let probe = "\(root)/vms/.direct-io"
    return await thread.run {
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

  /// Throws `diskFull` unless `bytes` fit above the reserve.
  func requireSpace(for bytes: Int) throws(AgentFailure) {
    let free = try FileSystem.space(root).free
    guard free - bytes < options.reserve else { return }
    let mib = { (bytes: Int) in bytes >> 20 }
    throw AgentFailure(
      .diskFull,
      "\(root) has \(mib(free)) MiB free, of which \(mib(options.reserve)) MiB are reserved; \(mib(bytes)) MiB are needed"
    )
  }
}
