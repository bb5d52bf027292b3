import AloftModel
import IPAddressing
import Postgres

/// The MAC addresses on a network that are no NIC's. A second owner of one would take what is sent to the first.
struct NetworkMACs: Sendable {
  private var owners: [MACAddress: String]

  static func of(_ network: NetworkID, in session: Session) throws -> NetworkMACs {
    let rows = try session.query(
      """
      SELECT DISTINCT i.mac, r.name FROM router_interfaces i JOIN routers r ON r.id = i.router_id
       WHERE i.network_id = \(network)
      """)
    var owners: [MACAddress: String] = [:]
    for row in rows { owners[try row.get(0)] = "router \(try row.get(1, as: String.self))" }
    if let metadata = MACAddress(network.metadataMAC) { owners[metadata] = "the metadata service" }
    return NetworkMACs(owners: owners)
  }

  /// A MAC address that a NIC may have.
  func parse(_ text: String, at pointer: String) throws -> MACAddress {
    guard let address = MACAddress(text), !address.isMulticast, address.bytes != [0, 0, 0, 0, 0, 0] else {
      throw Problem.field(
        .badFormat, pointer, "\(text) is no MAC address of one interface, such as 02:00:00:12:34:56")
    }
    if let owner = owners[address] {
      throw Problem.field(
        .addressTaken, pointer, "\(address) is that of \(owner) on this network; choose another MAC address")
    }
    return address
  }
}
