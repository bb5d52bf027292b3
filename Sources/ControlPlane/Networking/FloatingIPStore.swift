import AloftModel
import Foundation
import IPAddressing
import Postgres

/// Where floating IPs lead.
enum FloatingIPStore {
  /// An address of a NIC, and by which router a packet gets there.
  private struct Way {
    var subnet: SubnetID
    var subnetName: String
    var router: (id: RouterID, name: String)?
    var externalNetwork: ExternalNetworkID?

    init(_ row: Row) throws {
      subnet = try row.get(0)
      subnetName = try row.get(1)
      if let id = try row.get(2, as: RouterID?.self) { router = (id, try row.get(3)) }
      externalNetwork = try row.get(4)
    }
  }

  /// Leads a floating IP of an external network, which is locked or new, to a NIC, or nowhere. Another NIC loses it by that.
  static func lead(
    _ floatingIP: FloatingIPID, of network: ExternalNetworkID, to reference: String?, _ call: Call, in session: Session
  ) throws {
    guard let reference else {
      try session.execute("UPDATE floating_ips SET nic_id = NULL WHERE id = \(floatingIP)")
      return
    }
    let nic = try ResourceStore<NICRecord>.require(reference, call, at: "/nic", in: session).id
    let other = try session.one(
      """
      SELECT host(a.address) FROM floating_ips f JOIN addresses a ON a.floating_ip_id = f.id
       WHERE f.nic_id = \(nic) AND f.id <> \(floatingIP)
      """)
    if let other {
      let address = try other.get(0, as: String.self)
      throw Problem.field(.inUse, "/nic", "the NIC has a floating IP, \(address); unassign that one first")
    }
    let subnet = try way(to: nic, from: network, in: session).subnet
    try session.execute(
      "UPDATE floating_ips SET nic_id = \(nic), subnet_id = \(subnet) WHERE id = \(floatingIP)"
    ) { error in
      if error.isUniqueViolation("floating_ips_nic") {
        return .field(.inUse, "/nic", "the NIC has got another floating IP a moment ago")
      }
      return error.isForeignKeyViolation() ? .field(.wrongState, "/nic", "the NIC's way out has just changed") : nil
    }
  }

  /// By which of a NIC's addresses packets from an external network get there.
  private static func way(to nic: NICID, from network: ExternalNetworkID, in session: Session) throws -> Way {
    let query: SQL = """
      SELECT s.id, s.name, r.id, r.name, r.external_network_id
        FROM addresses a JOIN subnets s ON s.id = a.subnet_id LEFT JOIN router_interfaces i ON i.subnet_id = s.id
        LEFT JOIN routers r ON r.id = i.router_id
       WHERE a.nic_id = \(nic) AND family(a.address) = 4 ORDER BY a.address
      """
    // A router that something comes in by keeps its way out, so it is held before that is looked at for good.
    let routers = try session.query(query).compactMap { try Way($0).router?.id.uuid }
    try session.execute("SELECT 1 FROM routers WHERE id = ANY(\(routers)) ORDER BY id FOR SHARE")
    let ways = try session.query(query).map { try Way($0) }
    guard ways.allSatisfy({ way in way.router.map { routers.contains($0.id.uuid) } ?? true }) else {
      throw Problem.field(.wrongState, "/nic", "the NIC's way out has just changed; try again")
    }
    if let way = ways.first(where: { $0.externalNetwork == network }) { return way }
    guard let way = ways.first else {
      throw Problem.field(
        .wrongState, "/nic",
        "the NIC has no IPv4 address that a floating IP could lead to; give it one, or take another")
    }
    let out = try ResourceStore<ExternalNetworkRecord>.find(network, in: session)?.name ?? "\(network)"
    throw Problem.field(
      .wrongState, "/nic",
      way.router.map {
        "nothing gets from \(out) to subnet \(way.subnetName): set external_network of router \($0.name) to \(out)"
      }
        ?? "nothing gets from \(out) to subnet \(way.subnetName), which has no router: attach it to one that leads to \(out)"
    )
  }
}
