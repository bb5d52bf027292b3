import AloftModel
import Foundation
import IPAddressing
import Postgres

/// What load balancers listen on and where connections go. All of it happens while the load balancer is locked or new.
enum LoadBalancerStore {
  /// A subnet that a load balancer reaches members in.
  private struct Reached {
    var id: SubnetID
    var name: String
    var cidr: AddressBlock
  }

  /// Puts listeners in place of those that there are.
  static func replace(
    _ listeners: [LoadBalancerPlan.Listener], of balancer: LoadBalancerID, _ call: Call, seed: UInt64,
    in session: Session
  ) throws {
    guard let whole = try ResourceStore<LoadBalancerRecord>.find(balancer, in: session) else { return }
    try LoadBalancerPlan.check(listeners, isIPv6: whole.address.isIPv6)
    let reached = try reached(by: whole, in: session)
    try session.execute("DELETE FROM load_balancer_listeners WHERE load_balancer_id = \(balancer)")
    var tried: Set<SubnetID> = []
    for (index, listener) in listeners.enumerated() {
      let check = listener.healthCheck.map { JSONText(String(decoding: $0.jsonBytes, as: UTF8.self)) }
      try session.execute(
        """
        INSERT INTO load_balancer_listeners (load_balancer_id, protocol, port, health_check)
        VALUES (\(balancer), \(listener.protocol), \(listener.port), \(check)::jsonb)
        """)
      for (number, member) in (listener.members ?? []).enumerated() {
        let place = "/listeners/\(index)/members/\(number)"
        let subnet = try insert(member, into: listener, of: whole, reaching: reached, call, at: place, in: session)
        if check != nil { tried.insert(subnet) }
      }
    }
    try hold(tried, for: whole, seed: seed, in: session)
  }

  /// Refuses a subnet without a router, which nobody would answer in for a load balancer's address. The router keeps the subnet
  /// while this goes on.
  static func requireRouter(of subnet: SubnetRecord, in session: Session) throws {
    let router = try session.one(
      """
      SELECT 1 FROM routers WHERE id = (SELECT router_id FROM router_interfaces WHERE subnet_id = \(subnet.id)) FOR SHARE
      """)
    guard router == nil else { return }
    throw Problem.field(
      .wrongState, "/subnet",
      "subnet \(subnet.name) has no router, and only a router answers for a load balancer's address; PUT /v1/routers/{router}/interfaces/\(subnet.name) attaches it"
    )
  }

  /// The subnets of its network, and those that its subnet's router has, which keeps them while this goes on.
  private static func reached(by balancer: LoadBalancerRecord, in session: Session) throws -> [Reached] {
    let held = try session.one(
      """
      SELECT id FROM routers WHERE id = (SELECT router_id FROM router_interfaces WHERE subnet_id = \(balancer.subnetID))
         FOR SHARE
      """)
    let router = try held?.get(0, as: RouterID.self)
    return try session.query(
      """
      SELECT s.id, s.name, s.cidr FROM subnets s
       WHERE family(s.cidr) = family(\(balancer.address)::inet) AND (s.network_id = \(balancer.networkID) OR s.id IN (
         SELECT i.subnet_id FROM router_interfaces own JOIN router_interfaces i ON i.router_id = own.router_id
          WHERE own.subnet_id = \(balancer.subnetID) AND own.router_id = \(router)))
       ORDER BY s.network_id = \(balancer.networkID) DESC, s.id
      """
    ).map { Reached(id: try $0.get(0), name: try $0.get(1), cidr: try $0.get(2)) }
  }

  /// Returns the subnet that the member is in.
  private static func insert(
    _ member: LoadBalancerPlan.Member, into listener: LoadBalancerPlan.Listener, of balancer: LoadBalancerRecord,
    reaching reached: [Reached], _ call: Call, at place: String, in session: Session
  ) throws -> SubnetID {
    var nic: NICID?
    var address: IPAddress?
    let subnet: SubnetID
    if let reference = member.nic {
      let id = try ResourceStore<NICRecord>.require(reference, call, at: place + "/nic", in: session).id
      let subnets = try session.query("SELECT subnet_id FROM addresses WHERE nic_id = \(id)").map {
        try $0.get(0, as: SubnetID.self)
      }
      guard let found = reached.first(where: { subnets.contains($0.id) }) else {
        throw Problem.field(
          .wrongState, place + "/nic",
          "the NIC has no address in a subnet that the load balancer reaches: \(list(reached))")
      }
      (nic, subnet) = (id, found.id)
    } else {
      let text = member.address ?? ""
      guard let wanted = IPAddress(text) else {
        throw Problem.field(.badFormat, place + "/address", "\(text) is no IP address")
      }
      guard let found = reached.first(where: { $0.cidr.contains(wanted) }), wanted != balancer.address else {
        throw Problem.field(
          .outOfRange, place + "/address",
          wanted == balancer.address
            ? "\(wanted) is the load balancer itself"
            : "\(wanted) is in no subnet that the load balancer reaches: \(list(reached))")
      }
      (address, subnet) = (wanted, found.id)
    }
    try session.execute(
      """
      INSERT INTO load_balancer_members (load_balancer_id, protocol, port, nic_id, address, subnet_id, member_port)
      VALUES (\(balancer.id), \(listener.protocol), \(listener.port), \(nic), \(address), \(subnet), \(member.port))
      """,
      unique: "load_balancer_members_same",
      else: .field(.duplicateItem, place, "the listener has this member already; leave one of them out"))
    return subnet
  }

  private static func list(_ reached: [Reached]) -> String {
    let names = reached.prefix(6).map { "\($0.name) (\($0.cidr))" }.joined(separator: ", ")
    return names + (reached.count > 6 ? " and others" : "")
  }

  /// Members are tried from an address of their subnet that is nobody else's: one in each of these subnets, none in others.
  private static func hold(
    _ subnets: Set<SubnetID>, for balancer: LoadBalancerRecord, seed: UInt64, in session: Session
  ) throws {
    try session.execute(
      """
      UPDATE addresses SET load_balancer_id = NULL
       WHERE load_balancer_id = \(balancer.id) AND (subnet_id, address) <> (\(balancer.subnetID), \(balancer.address)::inet)
         AND subnet_id <> ALL(\(subnets.map(\.uuid)))
      """)
    let held = try session.query(
      """
      SELECT subnet_id FROM addresses
       WHERE load_balancer_id = \(balancer.id) AND (subnet_id, address) <> (\(balancer.subnetID), \(balancer.address)::inet)
      """
    ).map { try $0.get(0, as: SubnetID.self) }
    for id in subnets.subtracting(held).sorted(by: { $0.uuid < $1.uuid }) {
      guard let subnet = try ResourceStore<SubnetRecord>.find(id, in: session) else { continue }
      _ = try AddressTaking.takeAny(
        of: [subnet], for: .loadBalancer(balancer.id), seed: seed, at: "/listeners", in: session)
    }
  }
}
