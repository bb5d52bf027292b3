import AloftModel
import Foundation
import IPAddressing
import Postgres

/// Takes addresses for what is no NIC, and gives them back.
enum AddressTaking {
  /// Who gets an address.
  enum Owner: Sendable {
    case router(RouterID)
    case floatingIP(FloatingIPID)
    case loadBalancer(LoadBalancerID)

    fileprivate var kind: String {
      switch self {
      case .router: "router"
      case .floatingIP: "floating_ip"
      case .loadBalancer: "load_balancer"
      }
    }

    fileprivate var id: UUID {
      switch self {
      case .router(let id): id.uuid
      case .floatingIP(let id): id.uuid
      case .loadBalancer(let id): id.uuid
      }
    }

    fileprivate var column: SQL {
      switch self {
      case .router: "router_id"
      case .floatingIP: "floating_ip_id"
      case .loadBalancer: "load_balancer_id"
      }
    }
  }

  /// Takes any address of the first of these subnets that has one. `pointer` is where the body asks for it.
  static func takeAny(
    of subnets: [SubnetRecord], for owner: Owner, seed: UInt64, at pointer: String, in session: Session
  ) throws -> (subnet: SubnetRecord, address: IPAddress) {
    for subnet in subnets {
      let taken = try session.one(
        "SELECT aloft_take_address(\(subnet.id), \(Int64(bitPattern: seed))::bigint, \(owner.kind), \(owner.id))")
      if let address = try taken?.get(0, as: IPAddress?.self) { return (subnet, address) }
    }
    let places = try subnets.map {
      "subnet \($0.name) (\($0.cidr)) has none left: \(try SubnetStore.used(of: $0.id, in: session)) are in use"
    }
    throw Problem.field(.addressesExhausted, pointer, places.joined(separator: "; "))
  }

  /// Takes that address of a subnet.
  static func take(
    _ address: IPAddress, of subnet: SubnetRecord, for owner: Owner, at pointer: String, in session: Session
  ) throws {
    let taken = try session.one(
      "SELECT aloft_take_that_address(\(subnet.id), \(address)::inet, \(owner.kind), \(owner.id), '0')")
    if try taken?.get(0, as: IPAddress?.self) != nil { return }
    let user = try SubnetStore.owners(of: subnet, " AND a.address = \(address)", in: session) ?? "something else"
    throw Problem.field(.addressTaken, pointer, "\(address) of subnet \(subnet.name) is that of \(user) already")
  }

  /// Gives back what an owner has in a subnet, or in all.
  static func giveBack(of owner: Owner, in subnet: SubnetID? = nil, but kept: IPAddress? = nil, in session: Session)
    throws
  {
    try session.execute(
      """
      UPDATE addresses SET \(fragment: owner.column) = NULL
       WHERE \(fragment: owner.column) = \(owner.id) AND subnet_id = coalesce(\(subnet)::uuid, subnet_id)
         AND address IS DISTINCT FROM \(kept)::inet
      """)
  }

  /// An address that a caller has chosen out of what a subnet gives out.
  static func chosen(_ text: String, of subnets: [SubnetRecord], at pointer: String) throws
    -> (subnet: SubnetRecord, address: IPAddress)
  {
    guard let address = IPAddress(text) else { throw Problem.field(.badFormat, pointer, "\(text) is no IP address") }
    for subnet in subnets where subnet.pools.contains(where: { $0.contains(address) }) { return (subnet, address) }
    let ranges = subnets.flatMap(\.pools).prefix(8).map(\.description).joined(separator: ", ")
    throw Problem.field(.outOfRange, pointer, "\(address) is none that is given out here; those are \(ranges)")
  }
}
