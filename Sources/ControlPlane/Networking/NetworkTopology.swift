import AloftModel
import Foundation
import JSON
import Postgres

/// A network with all that is connected with it, in one document, read by one statement.
///
/// PostgreSQL puts the document together. It knows ids as UUIDs: which kind each is follows from the member that holds it.
enum NetworkTopology {
  private struct Part: Sendable {
    var name: String
    /// The kind of `id` in it.
    var id: @Sendable (UUID) -> String
    /// A query of JSON objects, of the network that the parameter names.
    var query: @Sendable (NetworkID) -> SQL
  }

  private static let parts: [Part] = [
    Part(name: "subnets", id: { SubnetID($0).description }) { network in
      """
      SELECT jsonb_build_object('id', s.id, 'name', s.name, 'cidr', s.cidr, 'gateway', host(s.gateway),
                                'configuration', s.configuration, 'router_id', i.router_id) AS part
        FROM subnets s LEFT JOIN router_interfaces i ON i.subnet_id = s.id WHERE s.network_id = \(network) ORDER BY s.id
      """
    },
    Part(name: "nics", id: { NICID($0).description }) { network in
      """
      SELECT jsonb_build_object('id', n.id, 'mac', n.mac, 'vm_id', n.vm_id, 'vm_name', v.name, 'addresses',
               (SELECT coalesce(jsonb_agg(host(a.address) ORDER BY a.address), '[]') FROM addresses a WHERE a.nic_id = n.id),
               'security_group_ids',
               (SELECT coalesce(jsonb_agg(g.group_id ORDER BY g.group_id), '[]') FROM nic_security_groups g
                 WHERE g.nic_id = n.id)) AS part
        FROM nics n JOIN vms v ON v.id = n.vm_id WHERE n.network_id = \(network) AND n.deleted_at IS NULL ORDER BY n.id
      """
    },
    Part(name: "routers", id: { RouterID($0).description }) { network in
      """
      SELECT jsonb_build_object('id', r.id, 'name', r.name, 'external_network_id', r.external_network_id,
               'external_addresses', (SELECT coalesce(jsonb_agg(host(a.address) ORDER BY a.address), '[]')
                 FROM addresses a JOIN subnets s ON s.id = a.subnet_id
                WHERE a.router_id = r.id AND s.network_id = r.external_network_id),
               'subnet_ids', (SELECT jsonb_agg(i.subnet_id ORDER BY i.subnet_id)
                 FROM router_interfaces i WHERE i.router_id = r.id)) AS part
        FROM routers r WHERE r.id IN (SELECT router_id FROM router_interfaces WHERE network_id = \(network)) ORDER BY r.id
      """
    },
    Part(name: "external_networks", id: { ExternalNetworkID($0).description }) { network in
      """
      SELECT jsonb_build_object('id', e.id, 'name', e.name) AS part FROM networks e WHERE e.id IN (
        SELECT r.external_network_id FROM router_interfaces i JOIN routers r ON r.id = i.router_id
         WHERE i.network_id = \(network)) ORDER BY e.id
      """
    },
    Part(name: "floating_ips", id: { FloatingIPID($0).description }) { network in
      """
      SELECT jsonb_build_object('id', f.id, 'address', host(a.address), 'nic_id', f.nic_id,
                                'external_network_id', f.network_id) AS part
        FROM floating_ips f JOIN addresses a ON a.floating_ip_id = f.id JOIN nics n ON n.id = f.nic_id
       WHERE n.network_id = \(network) ORDER BY f.id
      """
    },
    Part(name: "load_balancers", id: { LoadBalancerID($0).description }) { network in
      """
      SELECT jsonb_build_object('id', l.id, 'name', l.name, 'address', host(l.address), 'network_id', l.network_id,
               'nic_ids', (SELECT coalesce(jsonb_agg(DISTINCT m.nic_id) FILTER (WHERE m.nic_id IS NOT NULL), '[]')
                 FROM load_balancer_members m WHERE m.load_balancer_id = l.id)) AS part
        FROM load_balancers l WHERE l.network_id = \(network) OR l.id IN (
          SELECT m.load_balancer_id FROM load_balancer_members m JOIN subnets s ON s.id = m.subnet_id
           WHERE s.network_id = \(network)) ORDER BY l.id
      """
    },
    Part(name: "peerings", id: { NetworkPeeringID($0).description }) { network in
      """
      SELECT jsonb_build_object('id', p.id, 'name', p.name, 'network_id', o.id, 'network_name', o.name) AS part
        FROM network_peerings p
        JOIN networks o ON o.id = CASE \(network)::uuid WHEN p.network_id THEN p.peer_network_id ELSE p.network_id END
       WHERE \(network) IN (p.network_id, p.peer_network_id) ORDER BY p.id
      """
    },
  ]

  /// Members that hold the id of something else, or several with an `s` behind.
  private static let references: [String: @Sendable (UUID) -> String] = [
    "network_id": { NetworkID($0).description }, "subnet_id": { SubnetID($0).description },
    "router_id": { RouterID($0).description }, "nic_id": { NICID($0).description },
    "vm_id": { VMID($0).description }, "external_network_id": { ExternalNetworkID($0).description },
    "security_group_id": { SecurityGroupID($0).description },
  ]

  static func document(of network: NetworkRecord, in session: Session) throws -> JSONObject {
    let columns = parts.map { part -> SQL in
      "(SELECT coalesce(jsonb_agg(q.part), '[]') FROM (\(fragment: part.query(network.id))) q)"
    }
    var document: JSONObject = ["network": try JSONValue.parse(network.jsonBytes)]
    guard let row = try session.one("SELECT \(fragment: .joined(columns))") else { return document }
    for (index, part) in parts.enumerated() {
      let items = try JSONValue.parse(row.get(index, as: JSONText.self).text).arrayValue ?? []
      document[part.name] = .array(items.map { named($0, part.id) })
    }
    return document
  }

  /// An object with its ids as the API spells them.
  private static func named(_ item: JSONValue, _ id: (UUID) -> String) -> JSONValue {
    var object = item.objectValue ?? [:]
    for (name, value) in object {
      if name == "id" {
        object[name] = named(value, by: id)
      } else if let reference = references[name] {
        object[name] = named(value, by: reference)
      } else if name.hasSuffix("_ids"), let reference = references[String(name.dropLast())] {
        object[name] = .array((value.arrayValue ?? []).map { named($0, by: reference) })
      }
    }
    return .object(object)
  }

  private static func named(_ value: JSONValue, by id: (UUID) -> String) -> JSONValue {
    value.stringValue.flatMap { UUID(uuidString: $0) }.map { .string(id($0)) } ?? value
  }
}
