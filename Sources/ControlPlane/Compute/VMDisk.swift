import AloftModel
import Foundation
import JSON
import Postgres

/// A volume in a few words, as the VM that has it shows it.
struct VMDisk: Sendable, JSONWritable {
  var volume: VolumeID
  var name: String
  var sizeGiB: Int
  var bus: DiskBus
  var bootIndex: Int?
  /// The guest is to let go of it.
  var isLeaving: Bool
  /// It was deleted with its VM.
  var isDeleted: Bool
  /// Nil: none.
  var limits: IOLimits?

  /// What ``list(_:at:)`` reads of a row `d` of volumes.
  static let element: SQL = """
    json_build_array(d.id, d.name, d.size_gib, d.bus, d.boot_index, d.detaching, d.deleted_at IS NOT NULL,
                     d.io_limits)
    """

  /// A JSON array of the volumes of VM `v`, or NULL.
  static let column: SQL = """
    (SELECT json_agg(\(fragment: element) ORDER BY d.position) FROM volumes d WHERE d.vm_id = v.id)
    """

  static func list(_ row: Row, at index: Int) throws -> [VMDisk] {
    guard let text = try row.get(index, as: JSONText?.self) else { return [] }
    return try JSONValue.parse(text.text).arrayValue?.compactMap { VMDisk($0) } ?? []
  }

  private init?(_ value: JSONValue) {
    guard let id = value[0]?.stringValue.flatMap({ UUID(uuidString: $0) }), let name = value[1]?.stringValue,
      let size = value[2]?.intValue, let bus = value[3]?.stringValue.flatMap(DiskBus.init(rawValue:))
    else { return nil }
    volume = VolumeID(id)
    self.name = name
    sizeGiB = size
    self.bus = bus
    bootIndex = value[4]?.intValue
    isLeaving = value[5]?.boolValue ?? false
    isDeleted = value[6]?.boolValue ?? false
    limits = value[7].flatMap { IOLimits($0) }.flatMap { $0.isEmpty ? nil : $0 }
  }

  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("volume_id", volume)
      writer.field("name", name)
      writer.field("size_gib", sizeGiB)
      writer.field("bus", bus)
      writer.field("boot_index", bootIndex)
    }
  }
}
