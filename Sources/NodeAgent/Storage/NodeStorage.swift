import AloftModel

/// What cloud-init in the guest gets.
public struct Seed: Sendable, Hashable {
  public var vm: VMID
  public var hostname: String
  public var sshKeys: [String]
  public var userData: String

  public init(_ document: Assignment) {
    vm = document.vm
    hostname = document.hostname
    sshKeys = document.sshKeys
    userData = document.userData
  }
}

/// Bytes of the data directory's file system.
public struct StorageSpace: Sendable, Hashable {
  public var total: Int
  /// What programs without privileges may still take.
  public var free: Int
  /// What the files of Aloft's VMs and volumes take; volumes are thin, so this is less than what their guests were promised.
  public var guests: Int

  public init(total: Int, free: Int, guests: Int = 0) {
    self.total = total
    self.free = free
    self.guests = guests
  }
}

/// Writes an image's content into a file from offset 0: the control plane's side of a download. `onBytes` sees the bytes
/// in order, `progress` how many there were so far.
public typealias ImageSource =
  @Sendable (
    _ image: Assignment.BaseImage, _ descriptor: Int32,
    _ onBytes: @escaping @Sendable ([UInt8]) -> Void,
    _ progress: @escaping @Sendable (Int) -> Void
  ) async throws(AgentFailure) -> Void

/// Where VMs' files and the storage pools are. Every making is atomic: a file under its final name is whole.
public protocol NodeStorage: Sendable {
  /// A storage pool of this node, by its name; nil if there is none.
  func pool(_ name: String) -> (any VolumeBackend)?
  /// All pools, as the control plane is told of them.
  func pools() async -> [NodeStoragePool]
  /// Looks at everything that is kept on this node. Pools that nodes share are another matter, since volumes of others are there.
  func contents() async throws(AgentFailure) -> NodeContents
  /// Where a VM's files are, whether they exist or not.
  func paths(of vm: VMID) -> VMPaths
  func files(of vm: VMID) async throws(AgentFailure) -> VMFiles
  func createSeed(_ seed: Seed) async throws(AgentFailure)
  /// Deletes all files of a VM. Its volumes are another matter.
  func remove(_ vm: VMID) async throws(AgentFailure)
  func space() async throws(AgentFailure) -> StorageSpace
  /// Whether disks can be opened past the page cache.
  func supportsDirectIO() async -> Bool
  /// Frees what logs hold beyond their bound.
  func boundSerialLogs() async throws(AgentFailure)
  /// The kept part of a VM's serial log, for reading.
  func serialLog(of vm: VMID) async throws(AgentFailure) -> any SerialLogReader
}

/// Reads a serial log by offsets that never change.
public protocol SerialLogReader: Sendable {
  /// The first byte that is kept and the offset behind the last one.
  func bounds() async throws(AgentFailure) -> Range<Int>
  /// Up to `count` bytes from `offset`; empty at the end.
  func read(from offset: Int, count: Int) async throws(AgentFailure) -> [UInt8]
}
