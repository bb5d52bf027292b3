import AloftModel
import Foundation
import Postgres

/// The operations on operations, and the wait for their end.
struct OperationHandlers: Sendable {
  let plane: Plane

  func register(in table: inout HandlerTable) {
    table.on("listOperations", list)
    table.on("getOperation", get)
  }

  private func list(_ call: Call) async throws -> Reply {
    let cursor = try call.cursor()
    var resource: UUID?
    if let text = call.string("resource") {
      let volumes = VolumeID(text)?.uuid ?? SnapshotID(text)?.uuid ?? BackupID(text)?.uuid
      guard let id = VMID(text)?.uuid ?? ImageID(text)?.uuid ?? ProjectID(text)?.uuid ?? volumes else {
        throw Problem(
          .badID, "\(text) is not the id of something that operations change; give a `vm_…` or `prj_…` id",
          errors: [.init(code: .badID, detail: "not an id", parameter: "resource")])
      }
      resource = id
    }
    let filter = resource
    let status = call.string("status").flatMap { OperationStatus(rawValue: $0) }
    let records = try await plane.database.run { session in
      try OperationStore.page(
        project: try ProjectStore.require(call, in: session), resource: filter, status: status, before: cursor,
        limit: call.limit + 1, in: session)
    }
    return .page(records, limit: call.limit) { $0.id.uuid }
  }

  private func get(_ call: Call) async throws -> Reply {
    let text = call.string("operation") ?? ""
    guard let id = OperationID(text) else {
      throw Problem(.badID, "\(text) is not the id of an operation; it looks like op_01h455vb4pex5vsknk084sn02q")
    }
    let wait = Duration.seconds(call.int("wait") ?? 0)
    // An operation is asked for without its project: what it belongs to says who may see it.
    let record = try await plane.operation(id, waitingUpTo: wait) { project in
      call.principal.access(.operationRead, project: project?.description ?? "") == .granted
    }
    guard let record else { throw Problem(.notFound, "there is no operation \(text)") }
    return .json(record)
  }
}

extension Plane {
  /// How often a waiter looks again, whatever wake-ups were lost.
  private static let lookAgain = Duration.seconds(1)

  /// The operation when it has ended, or as it is when `limit` has passed or this replica is about to go down. Nil when there is none.
  /// Nil also, at once, when it is of a project that the caller may not see.
  func operation(
    _ id: OperationID, waitingUpTo limit: Duration, visible: (ProjectID?) -> Bool = { _ in true }
  ) async throws -> OperationRecord? {
    let deadline = environment.uptime() + Double(limit.components.seconds)
    while true {
      let ticket = wakeups.ticket(.operation(id.uuid))
      let record = try await database.run { session in try OperationStore.find(id, in: session) }
      if let record, !visible(record.projectID) { return nil }
      let left = deadline - environment.uptime()
      guard let record, record.finishedAt == nil, left > 0, !wakeups.isDraining else { return record }
      try Task.checkCancellation()
      await wakeups.wait(
        for: .operation(id.uuid), since: ticket, atMost: min(Self.lookAgain, .milliseconds(Int(left * 1000) + 1)))
    }
  }
}
