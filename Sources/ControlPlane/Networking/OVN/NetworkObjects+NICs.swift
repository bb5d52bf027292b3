import AloftModel
import Foundation
import IPAddressing
import JSON
import Northbound
import Postgres

extension NetworkObjects {
  /// NICs that their guests are to have.
  static func nics(_ which: Which, in session: Session) throws -> [NetworkModel.Object] {
    try session.query(
      """
      SELECT n.id, n.network_id, n.vm_id, v.hostname, n.mac, n.anti_spoofing, n.allowed_pairs, n.ingress_kbps, n.egress_kbps,
             c.node_id,
             (SELECT array_agg(a.subnet_id ORDER BY family(a.address), a.address) FROM addresses a WHERE a.nic_id = n.id),
             (SELECT array_agg(a.address ORDER BY family(a.address), a.address) FROM addresses a WHERE a.nic_id = n.id),
             (SELECT array_agg(g.group_id) FROM nic_security_groups g WHERE g.nic_id = n.id)
        FROM nics n JOIN vms v ON v.id = n.vm_id LEFT JOIN claims c ON c.vm_id = n.vm_id AND c.purpose = 'run'
       WHERE n.deleted_at IS NULL AND \(fragment: which.condition("n.id"))
      """
    ).map { .nic(try nic($0)) }
  }

  private static func nic(_ row: Row) throws -> NetworkModel.NIC {
    let subnets = try row.get(10, as: [UUID]?.self) ?? []
    let addresses = try row.get(11, as: [IPAddress]?.self) ?? []
    let groups = try row.get(12, as: [UUID]?.self) ?? []
    return NetworkModel.NIC(
      id: try row.get(0), network: try row.get(1), vm: try row.get(2), hostname: try row.get(3), mac: try row.get(4),
      addresses: zip(subnets, addresses).map { .init(subnet: SubnetID($0), address: $1) },
      securityGroups: Set(groups.map { SecurityGroupID($0) }), isProtected: try row.get(5),
      allowedPairs: try pairs(try row.get(6)), bandwidth: .init(incoming: try row.get(7), outgoing: try row.get(8)),
      node: try row.get(9))
  }

  private static func pairs(_ text: JSONText) throws -> [NetworkModel.NIC.AllowedPair] {
    try JSONValue.parse(text.text).arrayValue?.compactMap { pair in
      guard let block = pair["cidr"]?.stringValue.flatMap({ AddressBlock($0) }) else { return nil }
      return .init(mac: pair["mac"]?.stringValue.flatMap { MACAddress($0) }, addresses: block)
    } ?? []
  }

  static func securityGroups(_ which: Which, in session: Session) throws -> [NetworkModel.Object] {
    let condition = which.condition("g.id")
    let results = try session.pipeline([
      "SELECT g.id, g.project_id FROM security_groups g WHERE \(fragment: condition)",
      """
      SELECT r.group_id, r.id, r.direction, r.ip_version, r.protocol, r.first_port, r.last_port, r.icmp_type, r.icmp_code,
             r.remote_cidr, r.remote_group_id
        FROM security_group_rules r JOIN security_groups g ON g.id = r.group_id
       WHERE \(fragment: condition) ORDER BY r.id
      """,
    ])
    let rules = Dictionary(
      grouping: try results[1].compactMap { row in
        try rule(row).map { (group: try row.get(0, as: SecurityGroupID.self), rule: $0) }
      }, by: \.group)
    return try results[0].map { row in
      let id = try row.get(0, as: SecurityGroupID.self)
      return .securityGroup(
        NetworkModel.SecurityGroup(id: id, project: try row.get(1), rules: rules[id]?.map(\.rule) ?? []))
    }
  }

  private static func rule(_ row: Row) throws -> NetworkModel.SecurityGroup.Rule? {
    guard let direction = NetworkModel.SecurityGroup.Direction(rawValue: try row.get(2)),
      let version = NetworkModel.SecurityGroup.IPVersion(rawValue: try row.get(3))
    else { return nil }
    let remote: NetworkModel.SecurityGroup.Remote =
      if let block = try row.get(9, as: AddressBlock?.self) {
        .block(block)
      } else if let group = try row.get(10, as: SecurityGroupID?.self) { .group(group) } else { .any }
    let first = try row.get(5, as: Int?.self).flatMap { UInt16(exactly: $0) }
    let last = try row.get(6, as: Int?.self).flatMap { UInt16(exactly: $0) }
    let ports = first.flatMap { first in last.flatMap { first <= $0 ? first...$0 : nil } }
    let protocols: NetworkModel.SecurityGroup.TransportProtocol =
      switch try row.get(4, as: String.self) {
      case "tcp": .tcp
      case "udp": .udp
      case "icmp":
        .icmp(
          type: try row.get(7, as: Int?.self).flatMap { UInt8(exactly: $0) },
          code: try row.get(8, as: Int?.self).flatMap { UInt8(exactly: $0) })
      default: .any
      }
    return NetworkModel.SecurityGroup.Rule(
      id: try row.get(1), direction: direction, ipVersion: version, protocol: protocols, ports: ports, remote: remote)
  }
}
