import AloftModel
import Foundation
import Postgres

/// An operation that has not ended.
struct OpenOperation: Sendable, Equatable {
  var id: UUID
  var kind: OperationKind
  /// The generation of the resource's intent that the operation made.
  var generation: Int
  /// The one-time request that carries it out.
  var request: UUID?
  var deadline: Date
  var status: OperationStatus = .queued
  var waitingFor: String?
  var progress: Int?
}

/// How far an operation is.
enum OperationOutcome: Sendable, Equatable {
  case succeeded
  case failed(OperationFailure, String)
  /// Still under way.
  case running(waitingFor: String?, progress: Int?)

  /// Nil while it is under way.
  var ending: OperationStatus? {
    switch self {
    case .succeeded: .succeeded
    case .failed: .failed
    case .running: nil
    }
  }
}

extension OperationStore {
  /// The statements that write what was decided about the open operations of one resource, with an event for each that ends.
  /// Those that stay as they are do not appear in `outcomes`.
  static func settling(
    _ open: [OpenOperation], _ outcomes: [UUID: OperationOutcome], project: ProjectID, effects: inout Effects
  ) -> [SQL] {
    var statements: [SQL] = []
    for operation in open {
      guard let outcome = outcomes[operation.id] else { continue }
      statements.append(applying(outcome, to: operation.id))
      effects.wake.insert(.operation(operation.id))
      guard let ending = outcome.ending else { continue }
      statements.append(
        EventStore.appending(
          .operationEnded, project: project, resource: operation.id,
          data: ["kind": operation.kind.rawValue, "status": ending.rawValue]))
      effects.wake.insert(.events)
    }
    return statements
  }
}
