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
  /// What the files of Aloft's VMs take; disks are thin, so this is less than what their guests were promised.
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

/// Where images, disks and logs are. Every making is atomic: a file under its final name is whole.
public protocol NodeStorage: Sendable {
  /// Where a VM's files are, whether they exist or not.
  func paths(of vm: VMID) -> VMPaths
  func files(of vm: VMID, image: Assignment.BaseImage) async throws(AgentFailure) -> VMFiles
  /// Brings an image into the cache; what does not have the promised digest is not kept.
  func fetch(
    _ image: Assignment.BaseImage, from source: ImageSource,
    progress: @escaping @Sendable (Int) -> Void
  ) async throws(AgentFailure)
  /// Makes the boot disk, a clone of the cached image.
  func createDisk(of vm: VMID, from image: Assignment.BaseImage, gib: Int)
    async throws(AgentFailure)
  func createSeed(_ seed: Seed) async throws(AgentFailure)
  /// Deletes all files of a VM.
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
