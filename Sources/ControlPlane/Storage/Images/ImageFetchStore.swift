import AloftModel
import Foundation
import Postgres

/// A content that the control plane fetches.
struct ImageFetchRecord: Sendable {
  var url: String
  /// The entity tag or date of what was fetched so far.
  var validator: String?
  var failures: Int
  var operation: OperationID
  var isLate: Bool
}

/// The rows of `image_fetches`. A row has an open operation, and ends with it.
enum ImageFetchStore {
  /// How long a fetch may take.
  static let seconds = 6 * 3600

  static func insert(_ image: ImageID, url: String, in session: Session) throws {
    try session.execute("INSERT INTO image_fetches (image_id, url) VALUES (\(image), \(url))")
  }

  static func find(_ image: ImageID, in session: Session) throws -> ImageFetchRecord? {
    try session.one(
      """
      SELECT f.url, f.validator, f.failures, o.id, o.deadline < aloft_now()
        FROM image_fetches f JOIN operations o ON o.resource_id = f.image_id AND o.finished_at IS NULL
       WHERE f.image_id = \(image)
      """
    ).map { row in
      ImageFetchRecord(
        url: try row.get(0), validator: try row.get(1), failures: try row.get(2), operation: try row.get(3),
        isLate: try row.get(4))
    }
  }

  /// Remembers what is being fetched: bytes of something else do not belong to it.
  static func begin(_ image: ImageID, validator: String?, in session: Session) throws {
    try session.execute("UPDATE image_fetches SET validator = \(validator) WHERE image_id = \(image)")
  }

  /// Counts an attempt that broke off; one that brought something begins to count anew.
  static func failed(_ image: ImageID, broughtSome: Bool, in session: Session) throws {
    try session.execute(
      """
      UPDATE image_fetches SET failures = CASE WHEN \(broughtSome) THEN 1 ELSE failures + 1 END WHERE image_id = \(image)
      """)
  }

  /// Whether a fetch is to go on.
  enum Wish: Sendable { case wanted, cancelled, late }

  /// Shows how far it is.
  static func show(_ operation: OperationID, done: Int, of total: Int?, in session: Session) throws -> Wish {
    let words = total.map { "\(done) of \($0) bytes" } ?? "\(done) bytes"
    let percent = total.map { $0 == 0 ? 100 : Int(Double(done) / Double($0) * 100) }
    let count = try session.execute(
      OperationStore.applying(.running(waitingFor: words, progress: percent), to: operation.uuid))
    guard count == 1 else { return .cancelled }
    let isLate = try session.one("SELECT 1 FROM operations WHERE id = \(operation) AND deadline < aloft_now()") != nil
    return isLate ? .late : .wanted
  }

  /// Ends a fetch and its operation.
  static func end(
    _ image: ImageID, _ operation: OperationID, _ outcome: OperationOutcome, project: ProjectID, in session: Session,
    _ effects: inout Effects
  ) throws {
    try session.execute("DELETE FROM image_fetches WHERE image_id = \(image)")
    let count = try session.execute(OperationStore.applying(outcome, to: operation.uuid))
    guard count == 1, let status = outcome.ending else { return }
    try EventStore.append(
      .operationEnded, project: project, resource: operation.uuid,
      data: ["kind": OperationKind.fetchImage.rawValue, "status": status.rawValue], in: session)
    effects.wake.formUnion([.operation(operation.uuid), .events])
  }

  /// Ends what is under way for an image that is locked.
  static func cancel(_ image: ImageRecord, in session: Session, _ effects: inout Effects) throws {
    guard let fetch = try find(image.id, in: session) else { return }
    try end(
      image.id, fetch.operation, .failed(.cancelled, "it was cancelled"), project: image.projectID, in: session,
      &effects)
  }
}
