import AloftModel
import Foundation
import Postgres

/// The rows of `operations`.
enum OperationStore {
  /// On whose behalf an operation is carried out.
  struct Author: Sendable {
    var actor: String
    var requestID: String
  }

  /// Records an accepted change. It starts as `queued`, or ended when there was nothing to do.
  static func insert(
    _ id: OperationID, kind: OperationKind, project: ProjectID, resource: UUID, generation: Int,
    request: VMRequestID? = nil, seconds: Int, author: Author, in session: Session
  ) throws {
    _ = try session.execute(
      """
      INSERT INTO operations (id, project_id, kind, resource_id, generation, vm_request, actor, request_id, deadline)
      VALUES (\(id), \(project), \(kind), \(resource), \(generation), \(request), \(author.actor), \(author.requestID),
              aloft_now() + make_interval(secs => \(Double(seconds))))
      """)
  }

  /// Records a change to a VM whose intent was just written, with its event, and asks for a look at the VM.
  static func accept(
    _ id: OperationID, _ kind: OperationKind, project: ProjectID, vm: VMID, generation: Int,
    request: VMRequestID? = nil, seconds: Int, author: Author, in session: Session
  ) throws {
    try accept(
      id, kind, project: project, of: .vm, vm.uuid, generation: generation, request: request, seconds: seconds,
      author: author, in: session)
  }

  /// The same for whatever has a reconciler.
  static func accept(
    _ id: OperationID, _ kind: OperationKind, project: ProjectID, of work: WorkKind, _ resource: UUID, generation: Int,
    request: VMRequestID? = nil, seconds: Int, author: Author, in session: Session
  ) throws {
    try insert(
      id, kind: kind, project: project, resource: resource, generation: generation, request: request, seconds: seconds,
      author: author, in: session)
    try EventStore.append(
      .operationAccepted, project: project, resource: id.uuid, data: ["kind": kind.rawValue], in: session)
    try WorkQueue.wake(work, resource, in: session)
  }

  /// Nil when there is none of that id.
  static func find(_ id: OperationID, in session: Session) throws -> OperationRecord? {
    try session.one("SELECT \(fragment: OperationRecord.columns) FROM operations p WHERE p.id = \(id)").flatMap {
      try OperationRecord($0)
    }
  }

  /// A page, newest first.
  static func page(
    project: ProjectID, resource: UUID?, status: OperationStatus?, before: UUID?, limit: Int, in session: Session
  ) throws -> [OperationRecord] {
    try session.query(
      paging(project: project, resource: resource, status: status, before: before, limit: limit)
    ).compactMap { try OperationRecord($0) }
  }

  /// The statement of a page. It holds only the conditions that were asked for, in the words of the indexes.
  static func paging(project: ProjectID, resource: UUID?, status: OperationStatus?, before: UUID?, limit: Int) -> SQL {
    var condition: SQL = "p.project_id = \(project)"
    if let resource { condition.append(" AND p.resource_id = \(resource)") }
    if let before { condition.append(" AND p.id < \(before)") }
    switch status {
    case nil: break
    case .queued: condition.append(" AND p.finished_at IS NULL AND p.status = 'queued'")
    case .running: condition.append(" AND p.finished_at IS NULL AND p.status = 'running'")
    case .succeeded: condition.append(" AND p.status = 'succeeded'")
    case .failed: condition.append(" AND p.status = 'failed'")
    }
    return """
      SELECT \(fragment: OperationRecord.columns) FROM operations p
       WHERE \(fragment: condition) ORDER BY p.id DESC LIMIT \(limit)
      """
  }

  /// Asks for the operations on a resource that have not ended, oldest first; ``open(_:)`` reads them.
  static func opened(resource: UUID) -> SQL {
    """
    SELECT id, kind, generation, vm_request, deadline, status, waiting_for, progress
      FROM operations WHERE resource_id = \(resource) AND finished_at IS NULL ORDER BY id
    """
  }

  static func open(_ rows: Rows) throws -> [OpenOperation] {
    try rows.map { row in
      OpenOperation(
        id: try row.get(0), kind: try row.get(1), generation: try row.get(2), request: try row.get(3),
        deadline: try row.get(4), status: try row.get(5), waitingFor: try row.get(6), progress: try row.get(7))
    }
  }

  /// Writes what was decided about one operation; one that has ended stays as it is.
  static func applying(_ outcome: OperationOutcome, to id: UUID) -> SQL {
    switch outcome {
    case .succeeded:
      """
      UPDATE operations SET status = 'succeeded', waiting_for = NULL, progress = NULL, finished_at = aloft_now()
       WHERE id = \(id) AND finished_at IS NULL
      """
    case .failed(let code, let detail):
      """
      UPDATE operations SET status = 'failed', waiting_for = NULL, progress = NULL, finished_at = aloft_now(),
                            error_code = \(code), error_detail = \(detail)
       WHERE id = \(id) AND finished_at IS NULL
      """
    case .running(let waitingFor, let progress):
      """
      UPDATE operations SET status = 'running', waiting_for = \(waitingFor), progress = \(progress)
       WHERE id = \(id) AND finished_at IS NULL
      """
    }
  }
}
