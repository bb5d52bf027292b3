import AloftModel
import Foundation
import JSON
import Postgres

/// A NIC in a few words, as its VM shows it.
struct VMNIC: Sendable, JSONWritable {
  var id: NICID
  var network: NetworkID
  var mac: String
  var addresses: [String]
  /// It was deleted, and the guest may have it still.
  var isLeaving: Bool

  /// A JSON array of the NICs of VM `v`, or NULL. Not a join: a VM without NICs costs a look into an index.
  static let column: SQL = """
    (SELECT json_agg(json_build_array(c.id, c.network_id, c.mac, c.deleted_at IS NOT NULL,
                                      (SELECT json_agg(host(a.address) ORDER BY family(a.address), a.address)
                                         FROM addresses a WHERE a.nic_id = c.id)) ORDER BY c.position)
       FROM nics c WHERE c.vm_id = v.id)
    """

  static func list(_ row: Row, at index: Int) throws -> [VMNIC] {
    guard let text = try row.get(index, as: JSONText?.self) else { return [] }
    return try JSONValue.parse(text.text).arrayValue?.compactMap { VMNIC($0) } ?? []
  }

  private init?(_ value: JSONValue) {
    guard let id = value[0]?.stringValue.flatMap({ UUID(uuidString: $0) }),
      let network = value[1]?.stringValue.flatMap({ UUID(uuidString: $0) }), let mac = value[2]?.stringValue
    else { return nil }
    self.id = NICID(id)
    self.network = NetworkID(network)
    self.mac = mac
    isLeaving = value[3]?.boolValue ?? false
    addresses = value[4]?.arrayValue?.compactMap(\.stringValue) ?? []
  }

  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("id", id)
      writer.field("network_id", network)
      writer.field("mac", mac)
      writer.field("addresses", addresses)
    }
  }
}
