import AloftModel
import Foundation
import Postgres

/// The part of a VM's document that is about networks.
struct AssignedNICs: Sendable {
  var nics: [Assignment.NIC] = []
  /// Each network once, however many NICs are on it.
  var networks: [Assignment.Network] = []

  /// Reads it for some VMs; those without NICs do not appear.
  static func read(of vms: [UUID], in session: Session) throws -> [VMID: AssignedNICs] {
    if vms.isEmpty { return [:] }
    let rows = try session.query(
      """
      SELECT n.vm_id, n.id, n.mac::text,
             (SELECT array_agg(host(a.address) || '/' || masklen(s.cidr) ORDER BY family(a.address), a.address)
                FROM addresses a JOIN subnets s ON s.id = a.subnet_id WHERE a.nic_id = n.id),
             w.id, w.name, w.mtu, w.dns_domain,
             (SELECT array_agg(host(s.metadata_address) || '/' || masklen(s.cidr) ORDER BY s.id)
                FROM subnets s WHERE s.network_id = w.id AND s.metadata_address IS NOT NULL)
        FROM nics n JOIN networks w ON w.id = n.network_id
       WHERE n.vm_id = ANY(\(vms)) AND n.deleted_at IS NULL
       ORDER BY n.vm_id, n.position
      """)
    var plugs: [VMID: AssignedNICs] = [:]
    for row in rows {
      let network = Assignment.Network(
        id: try row.get(4), name: try row.get(5), mtu: try row.get(6), dnsDomain: try row.get(7),
        metadataAddresses: try row.get(8, as: [String]?.self) ?? [])
      let nic = Assignment.NIC(
        id: try row.get(1), network: network.id, mac: try row.get(2),
        addresses: try row.get(3, as: [String]?.self) ?? [])
      var assigned = plugs[try row.get(0)] ?? AssignedNICs()
      assigned.nics.append(nic)
      if !assigned.networks.contains(where: { $0.id == network.id }) { assigned.networks.append(network) }
      plugs[try row.get(0)] = assigned
    }
    return plugs
  }
}
