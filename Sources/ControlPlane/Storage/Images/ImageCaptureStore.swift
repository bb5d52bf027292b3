import AloftModel
import Foundation
import Postgres

/// An image that is made of what a snapshot of a volume holds.
struct ImageCaptureRecord: Sendable {
  var image: ImageID
  var volume: VolumeID
  var snapshot: SnapshotID
  var failures: Int
  var hasEnded: Bool
  /// Nil when it has ended.
  var operation: OperationID?
  var isLate: Bool

  static let columns: SQL = """
    c.image_id, c.volume_id, c.snapshot_id, c.failures, c.ended_at IS NOT NULL, o.id,
    coalesce(o.deadline < aloft_now(), false)
    """
  static let source: SQL = """
    image_captures c LEFT JOIN operations o ON o.resource_id = c.image_id AND o.finished_at IS NULL
    """

  init(_ row: Row) throws {
    image = try row.get(0)
    volume = try row.get(1)
    snapshot = try row.get(2)
    failures = try row.get(3)
    hasEnded = try row.get(4)
    operation = try row.get(5)
    isLate = try row.get(6)
  }
}

/// The rows of `image_captures`.
///
/// Invariants:
/// - A row that has not ended has an open operation, and ends with it, once.
/// - The row goes only in the transaction that changes the volume's document, which locks the volume: an agent does not keep a
///   snapshot that nobody needs.
enum ImageCaptureStore {
  /// How long it may take.
  static let seconds = 6 * 3600
  /// How often in a row the node may fail.
  static let mostFailures = 10

  static func insert(
    _ image: ImageID, of volume: VolumeID, _ snapshot: SnapshotID, isOwn: Bool, in session: Session
  ) throws {
    try session.execute(
      """
      INSERT INTO image_captures (image_id, volume_id, snapshot_id, is_own)
      VALUES (\(image), \(volume), \(snapshot), \(isOwn))
      """)
  }

  static func find(_ image: ImageID, in session: Session) throws -> ImageCaptureRecord? {
    try session.one(
      """
      SELECT \(fragment: ImageCaptureRecord.columns) FROM \(fragment: ImageCaptureRecord.source) WHERE c.image_id = \(image)
      """
    ).map { try ImageCaptureRecord($0) }
  }

  /// What a node is to send, if it is: of one of its volumes.
  static func find(_ image: ImageID, on node: NodeID, in session: Session) throws -> ImageCaptureRecord? {
    try session.one(
      """
      SELECT \(fragment: ImageCaptureRecord.columns)
        FROM \(fragment: ImageCaptureRecord.source) JOIN volumes v ON v.id = c.volume_id
       WHERE c.image_id = \(image) AND v.node_id = \(node) AND c.ended_at IS NULL
      """
    ).map { try ImageCaptureRecord($0) }
  }

  /// The images that are being made of a volume, or of a snapshot.
  static func users(of volume: VolumeID, in session: Session) throws -> String? {
    try names("c.volume_id = \(volume)", in: session)
  }

  static func users(of snapshot: SnapshotID, in session: Session) throws -> String? {
    try names("c.snapshot_id = \(snapshot)", in: session)
  }

  private static func names(_ condition: SQL, in session: Session) throws -> String? {
    try session.someNames(
      """
      SELECT i.name FROM image_captures c JOIN images i ON i.id = c.image_id
       WHERE c.ended_at IS NULL AND \(fragment: condition) ORDER BY i.name
      """)
  }

  /// Counts attempts that brought nothing; returns how many there are in a row now.
  static func count(_ image: ImageID, failed: Bool, in session: Session) throws -> Int {
    try session.one(
      """
      UPDATE image_captures SET failures = CASE WHEN \(failed) THEN failures + 1 ELSE 0 END WHERE image_id = \(image)
      RETURNING failures
      """)?.get(0) ?? 0
  }

  /// Shows how far it is. Returns whether it is still wanted.
  static func show(
    _ operation: OperationID, _ words: String, done: Int?, of total: Int?, in session: Session
  ) throws -> Bool {
    var text = words
    var percent: Int?
    if let done, let total {
      text += ": \(done) of \(total) bytes"
      percent = total <= 0 ? 100 : Int(min(1, max(0, Double(done) / Double(total))) * 100)
    }
    return try session.execute(
      OperationStore.applying(.running(waitingFor: text, progress: percent), to: operation.uuid)) == 1
  }

  /// Ends it with its operation, and has the rest cleared away. Returns whether it had not ended before.
  @discardableResult
  static func end(
    _ capture: ImageCaptureRecord, _ outcome: OperationOutcome, project: ProjectID, in session: Session,
    _ effects: inout Effects
  ) throws -> Bool {
    let count = try session.execute(
      "UPDATE image_captures SET ended_at = aloft_now() WHERE image_id = \(capture.image) AND ended_at IS NULL")
    guard count == 1 else { return false }
    try WorkQueue.wake(.image, capture.image.uuid, in: session)
    effects.wake.insert(.images)
    guard let operation = capture.operation, let status = outcome.ending,
      try session.execute(OperationStore.applying(outcome, to: operation.uuid)) == 1
    else { return true }
    try EventStore.append(
      .operationEnded, project: project, resource: operation.uuid,
      data: ["kind": OperationKind.captureImage.rawValue, "status": status.rawValue], in: session)
    effects.wake.formUnion([.operation(operation.uuid), .events])
    return true
  }

  /// Ends what is under way for an image.
  static func cancel(_ image: ImageRecord, in session: Session, _ effects: inout Effects) throws {
    guard let capture = try find(image.id, in: session) else { return }
    try end(capture, .failed(.cancelled, "it was cancelled"), project: image.projectID, in: session, &effects)
  }

  /// Takes over that an agent has taken the snapshots that only captures know.
  static func taking(_ snapshots: [VolumeObservation.Snapshot], of volume: VolumeID) -> [SQL] {
    snapshots.map { seen in
      """
      UPDATE image_captures SET taken_at = to_timestamp(\(Double(seen.takenAt) / 1000)::float8)
       WHERE snapshot_id = \(seen.id) AND volume_id = \(volume) AND is_own AND taken_at IS NULL
      """
    }
  }

  /// Forgets one that has ended: the volume's agent lets go of what it kept for it. Returns whom to wake.
  static func remove(_ capture: ImageCaptureRecord, in session: Session) throws -> Set<Topic> {
    try VolumeStore.hold([capture.volume.uuid], and: nil, in: session)
    try session.execute("DELETE FROM image_captures WHERE image_id = \(capture.image) AND ended_at IS NOT NULL")
    let intended = try VolumeStore.intend(capture.volume, in: session)
    return intended.node.map { [.node($0.uuid)] } ?? []
  }
}
