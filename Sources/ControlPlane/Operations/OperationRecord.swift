import AloftModel
import Foundation
import JSON
import Postgres

/// An operation as the API shows it.
struct OperationRecord: Sendable {
  var id: OperationID
  var kind: OperationKind
  var status: OperationStatus
  var projectID: ProjectID?
  /// The resource's id in its text form.
  var resourceID: String
  var waitingFor: String?
  var progress: Int?
  var failure: OperationFailure?
  var failureDetail: String?
  var createdAt: Date
  var finishedAt: Date?
  var deadline: Date

  /// What ``init(_:from:)`` reads, in its order.
  static let columns: SQL = """
    p.id, p.kind, p.status, p.project_id, p.resource_id, p.waiting_for, p.progress, p.error_code, p.error_detail,
    p.created_at, p.finished_at, p.deadline
    """

  /// Reads the twelve columns from `first` on; nil when there is no operation (a left join).
  init?(_ row: Row, from first: Int = 0) throws {
    guard let id = try row.get(first, as: OperationID?.self) else { return nil }
    self.id = id
    kind = try row.get(first + 1)
    status = try row.get(first + 2)
    projectID = try row.get(first + 3)
    resourceID = kind.resource(try row.get(first + 4))
    waitingFor = try row.get(first + 5)
    progress = try row.get(first + 6)
    failure = try row.get(first + 7)
    failureDetail = try row.get(first + 8)
    createdAt = try row.get(first + 9)
    finishedAt = try row.get(first + 10)
    deadline = try row.get(first + 11)
  }
}

extension OperationKind {
  /// The id of what it changes, as the API spells it.
  fileprivate func resource(_ id: UUID) -> String {
    switch self {
    case .createVM, .startVM, .stopVM, .rebootVM, .deleteVM, .attachNIC, .detachNIC, .attachVolume, .detachVolume,
      .limitVolume:
      VMID(id).description
    case .createVolume, .growVolume, .deleteVolume, .restoreVolume, .moveVolume: VolumeID(id).description
    case .createSnapshot, .revertSnapshot, .deleteSnapshot: SnapshotID(id).description
    case .fetchImage, .captureImage: ImageID(id).description
    case .createBackup, .verifyBackup: BackupID(id).description
    case .deleteProject: ProjectID(id).description
    }
  }
}

extension OperationRecord: JSONWritable {
  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("id", id)
      writer.field("kind", kind)
      writer.field("status", status)
      writer.field("project_id", projectID)
      writer.field("resource_id", resourceID)
      writer.field("waiting_for", waitingFor)
      writer.field("progress", progress)
      writer.key("error")
      if let failure {
        writer.object { writer in
          writer.field("code", failure)
          writer.field("detail", failureDetail ?? "")
        }
      } else {
        writer.writeNull()
      }
      writer.field("created_at", createdAt)
      writer.field("finished_at", finishedAt)
      writer.field("deadline", deadline)
    }
  }
}
