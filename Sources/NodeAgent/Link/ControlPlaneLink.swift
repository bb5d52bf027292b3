import AloftModel

/// The agent's way to the control plane. Every call may be repeated: reports carry sequences, joining again with the same
/// key gives the same node.
///
/// Throws `controlPlaneUnavailable` for what may pass by itself and `controlPlaneRefused` for what will not.
public protocol ControlPlaneLink: Sendable {
  func join(_ request: JoinRequest) async throws(AgentFailure) -> JoinAnswer
  func renew(_ request: RenewRequest) async throws(AgentFailure) -> JoinAnswer
  func report(_ node: NodeReport) async throws(AgentFailure) -> LeaseAnswer
  func assignments(after revision: Int, waitSeconds: Int) async throws(AgentFailure) -> Assignments
  func post(_ report: ObservationReport) async throws(AgentFailure) -> LeaseAnswer
  /// Writes an image's content into an open file; see ``ImageSource``.
  func download(
    _ image: Assignment.BaseImage, to descriptor: Int32,
    onBytes: @escaping @Sendable ([UInt8]) -> Void,
    progress: @escaping @Sendable (Int) -> Void
  ) async throws(AgentFailure)
  /// How far an image is that this node makes of a volume. These calls are refused when it is not wanted any more.
  func tell(_ report: ExportReport, of image: ImageID) async throws(AgentFailure)
  /// How many bytes of the image's content the control plane has.
  func uploadOffset(of image: ImageID) async throws(AgentFailure) -> Int
  /// Lets the content begin anew.
  func discardUpload(of image: ImageID) async throws(AgentFailure)
  /// Sends the file from `offset` to its end. Returns when the content is the image's.
  func upload(_ file: ExportedFile, as image: ImageID, from offset: Int) async throws(AgentFailure)
  /// How far a backup is that this node makes, or what has ended this attempt.
  func tell(_ report: ExportReport, of backup: BackupID) async throws(AgentFailure)
  /// Which of these chunks the backup does not have yet.
  func missing(_ chunks: ChunkList, of backup: BackupID) async throws(AgentFailure) -> ChunkList
  func send(_ bytes: [UInt8], asChunk hash: ChunkHash, of backup: BackupID) async throws(AgentFailure)
  /// Sends the manifest. Returns when the backup is made.
  func send(_ manifest: [UInt8], asManifestOf backup: BackupID) async throws(AgentFailure)
  /// These throw `backupDamaged` for what is missing.
  func manifest(of backup: BackupID) async throws(AgentFailure) -> [UInt8]
  func chunk(_ chunk: BackupManifest.Chunk, of backup: BackupID, size: Int) async throws(AgentFailure) -> [UInt8]
  /// Whether this node is the one that looks through a pool which nodes share.
  func isToLook(at pool: String) async throws(AgentFailure) -> Bool
  /// How a pool that nodes share differs from what the cloud knows of it.
  func compare(
    _ contents: SharedPoolContents, with pool: String
  ) async throws(AgentFailure) -> SharedPoolDifferences
  /// Sends `body` for a client that waits on one replica. `start` is the offset of its first byte. Returns when the body
  /// has ended, or when the client has left.
  func send(
    _ stream: StreamRequest, start: Int,
    body: @escaping @Sendable (StreamWriter) async throws -> Void
  ) async throws(AgentFailure)
}

/// Links to control planes that make no images of volumes.
extension ControlPlaneLink {
  private var noExports: AgentFailure { AgentFailure(.unsupported, "no images are made of volumes here") }

  public func tell(_ report: ExportReport, of image: ImageID) async throws(AgentFailure) { throw noExports }
  public func uploadOffset(of image: ImageID) async throws(AgentFailure) -> Int { throw noExports }
  public func discardUpload(of image: ImageID) async throws(AgentFailure) { throw noExports }
  public func upload(_ file: ExportedFile, as image: ImageID, from offset: Int) async throws(AgentFailure) {
    throw noExports
  }
}

/// Links to control planes that keep no backups.
extension ControlPlaneLink {
  private var noBackups: AgentFailure { AgentFailure(.unsupported, "no backups are kept here") }

  public func tell(_ report: ExportReport, of backup: BackupID) async throws(AgentFailure) { throw noBackups }
  public func missing(_ chunks: ChunkList, of backup: BackupID) async throws(AgentFailure) -> ChunkList {
    throw noBackups
  }
  public func send(_ bytes: [UInt8], asChunk hash: ChunkHash, of backup: BackupID) async throws(AgentFailure) {
    throw noBackups
  }
  public func send(_ manifest: [UInt8], asManifestOf backup: BackupID) async throws(AgentFailure) { throw noBackups }
  public func manifest(of backup: BackupID) async throws(AgentFailure) -> [UInt8] { throw noBackups }
  public func chunk(
    _ chunk: BackupManifest.Chunk, of backup: BackupID, size: Int
  ) async throws(AgentFailure) -> [UInt8] { throw noBackups }
}

/// Takes the bytes of a stream, no faster than the client does. Throws when the client has left.
public typealias StreamWriter = @Sendable ([UInt8]) async throws -> Void
