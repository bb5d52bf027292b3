import AloftModel
import Foundation
import IPAddressing
import Postgres

/// The rows of `nics`, and the addresses that they have.
///
/// Invariants:
/// - A NIC is written together with all of its addresses, or not at all.
/// - An address is given by the database's functions alone (`migrations/0064_address_allocation.sql`).
enum NICStore {
  /// How many NICs a VM may have.
  static let mostOfVM = 8

  /// Writes NICs of a VM in one round trip, from `position` on.
  static func insert(_ creations: [NICCreation], vm: VMID, project: ProjectID, from position: Int, in session: Session)
    throws
  {
    var statements: [SQL] = []
    var takes: [(index: Int, creation: NICCreation, source: NICCreation.Source)] = []
    for (offset, nic) in creations.enumerated() {
      statements.append(
        """
        INSERT INTO nics (id, project_id, network_id, vm_id, position, mac, labels, anti_spoofing, allowed_pairs,
                          ingress_kbps, egress_kbps)
        VALUES (\(nic.id), \(project), \(nic.network), \(vm), \(position + offset), \(nic.mac),
                \(JSONText(nic.labels))::jsonb, \(nic.antiSpoofing), \(JSONText(nic.allowedPairs))::jsonb,
                \(nic.ingressKbps), \(nic.egressKbps))
        """)
      if !nic.groups.isEmpty {
        statements.append(
          "INSERT INTO nic_security_groups (nic_id, group_id) SELECT \(nic.id), unnest(\(nic.groups)::uuid[])")
      }
      for source in nic.sources {
        takes.append((statements.count, nic, source))
        statements.append(taking(source, of: nic))
      }
    }
    let results = try run(statements, creations, in: session)
    for take in takes where try results[take.index].first?.get(0, as: IPAddress?.self) == nil {
      throw try refusal(of: take.source, take.creation, in: session)
    }
  }

  private static func taking(_ source: NICCreation.Source, of nic: NICCreation) -> SQL {
    switch source {
    case .that(let subnet, let address):
      return "SELECT aloft_take_that_address(\(subnet), \(address)::inet, 'nic', \(nic.id), '0')"
    case .any(let subnets):
      let seed = Int64(bitPattern: nic.seed)
      let tries = subnets.map { "aloft_take_address(\($0), \(seed)::bigint, 'nic', \(nic.id))" as SQL }
      return "SELECT coalesce(\(fragment: .joined(tries)))"
    }
  }

  private static func run(_ statements: [SQL], _ creations: [NICCreation], in session: Session) throws -> [Rows] {
    do throws(PostgresError) {
      return try session.pipeline(statements)
    } catch {
      if error.isUniqueViolation("nics_mac") {
        let chosen = creations.map { "\($0.mac) on \($0.networkName)" }.joined(separator: " or ")
        throw Problem.field(
          .addressTaken, (creations.first?.pointer ?? "") + "/mac",
          "\(chosen) is another NIC's; choose another MAC address")
      }
      if error.isForeignKeyViolation() {
        throw Problem(.notFound, "the network, a subnet or a security group was deleted a moment ago; look again")
      }
      throw error
    }
  }

  /// Why an address could not be had.
  private static func refusal(of source: NICCreation.Source, _ nic: NICCreation, in session: Session) throws -> Problem
  {
    switch source {
    case .that(_, let address):
      return .field(
        .addressTaken, nic.pointer + "/addresses",
        "\(address) on network \(nic.networkName) is in use; choose another one, or none to be given one")
    case .any(let subnets):
      let rows = try session.query(
        """
        SELECT name, cidr, (SELECT count(*) FROM addresses a WHERE a.subnet_id = s.id AND a.released_at IS NULL),
               (SELECT count(*) FROM addresses a WHERE a.subnet_id = s.id AND a.released_at IS NOT NULL)
          FROM subnets s WHERE id = ANY(\(subnets.map(\.uuid))) ORDER BY id
        """
      ).map { row in
        let resting = try row.get(3, as: Int.self)
        return "subnet \(try row.get(0, as: String.self)) (\(try row.get(1, as: AddressBlock.self))) has none left: "
          + "\(try row.get(2, as: Int.self)) are in use" + (resting > 0 ? ", \(resting) were given back just now" : "")
      }
      return .field(.addressesExhausted, nic.pointer + "/network", rows.joined(separator: "; "))
    }
  }

  /// Puts the documents of all VMs on a network in front of their agents: what guests are told of it has changed.
  static func announce(network: NetworkID, in session: Session) throws {
    try session.execute(
      """
      INSERT INTO network_announcements (node_id, network_id)
      SELECT DISTINCT c.node_id, n.network_id FROM nics n JOIN claims c ON c.vm_id = n.vm_id AND c.purpose = 'run'
       WHERE n.network_id = \(network) ORDER BY 1
      ON CONFLICT DO NOTHING
      """)
    try session.execute(
      """
      INSERT INTO work (kind, id, due_at)
      SELECT DISTINCT \(WorkKind.announcement.rawValue), c.node_id, aloft_now()
        FROM nics n JOIN claims c ON c.vm_id = n.vm_id AND c.purpose = 'run'
       WHERE n.network_id = \(network)
       ORDER BY 2
      ON CONFLICT (kind, id) DO UPDATE SET due_at = least(work.due_at, excluded.due_at), wakes = work.wakes + 1
      """)
  }

  /// Removes NICs that their guests do not have any more; their addresses are given back.
  static func remove(_ ids: [UUID], in session: Session) throws {
    try session.execute("DELETE FROM nics WHERE id = ANY(\(ids)) AND deleted_at IS NOT NULL")
  }
}
