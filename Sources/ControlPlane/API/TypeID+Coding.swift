import AloftModel
import Foundation
import JSON
import Postgres

// The database keeps an id as a uuid; JSON shows it with its prefix.

extension TypeID: PostgresEncodable {
  public var postgresValue: PostgresValue { uuid.postgresValue }
}

extension TypeID: PostgresDecodable {
  public init(postgres cell: PostgresCell) throws(PostgresDecodingFailure) {
    self.init(try UUID(postgres: cell))
  }
}

extension TypeID: JSONWritable {
  public func write(to writer: inout JSONWriter) { description.write(to: &writer) }
}

// Closed sets of words are stored and shown as they are spelled.

extension UserKind: PostgresCodable, JSONWritable {}
extension ProjectRole: PostgresCodable, JSONWritable {}
extension CloudRole: PostgresCodable, JSONWritable {}
extension Quota: PostgresCodable, JSONWritable {}
extension Power: PostgresCodable, JSONWritable {}
extension Accelerator: PostgresCodable, JSONWritable {}
extension AcceleratorChoice: PostgresCodable, JSONWritable {}
extension ImageFormat: PostgresCodable, JSONWritable {}
extension ImageVisibility: PostgresCodable, JSONWritable {}
extension ImageFirmware: PostgresCodable, JSONWritable {}
extension VMState: JSONWritable {}
extension VolumeState: JSONWritable {}
extension SnapshotState: JSONWritable {}
extension BackupState: PostgresCodable, JSONWritable {}
extension BackupReading: PostgresCodable, JSONWritable {}
extension VolumeObservation.State: PostgresCodable {}
extension DiskBus: PostgresCodable, JSONWritable {}
extension StoragePoolKind: PostgresCodable, JSONWritable {}
extension OperationStatus: PostgresCodable, JSONWritable {}
extension OperationKind: PostgresCodable, JSONWritable {}
extension OperationFailure: PostgresCodable, JSONWritable {}
extension Observation.Power: PostgresCodable {}
extension Assignment.Request.Kind: PostgresCodable {}
extension WebhookDeliveryState: PostgresCodable, JSONWritable {}
extension WebhookDisabling: PostgresCodable, JSONWritable {}
extension WebhookFailure: PostgresCodable, JSONWritable {}
extension ProblemCode: JSONWritable {}
extension SubnetConfiguration: PostgresCodable, JSONWritable {}
extension Datapath: JSONWritable {}
extension TrafficDirection: PostgresCodable, JSONWritable {}
extension RuleProtocol: PostgresCodable, JSONWritable {}
extension ListenerProtocol: PostgresCodable, JSONWritable {}
