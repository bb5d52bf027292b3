import AloftModel
import Foundation
import IPAddressing
import JSON
import Northbound
import Postgres

extension NetworkObjects {
  static func loadBalancers(_ which: Which, in session: Session) throws -> [NetworkModel.Object] {
    let condition = which.condition("b.id")
    let results = try session.pipeline([
      """
      SELECT b.id, b.project_id, b.name, b.address, b.network_id,
             (SELECT i.router_id FROM router_interfaces i WHERE i.subnet_id = b.subnet_id),
             (SELECT array_agg(a.subnet_id ORDER BY a.subnet_id) FROM addresses a
               WHERE a.load_balancer_id = b.id AND (a.subnet_id, a.address) <> (b.subnet_id, b.address)),
             (SELECT array_agg(a.address ORDER BY a.subnet_id) FROM addresses a
               WHERE a.load_balancer_id = b.id AND (a.subnet_id, a.address) <> (b.subnet_id, b.address))
        FROM load_balancers b WHERE \(fragment: condition)
      """,
      """
      SELECT l.load_balancer_id, l.protocol, l.port, l.health_check
        FROM load_balancer_listeners l JOIN load_balancers b ON b.id = l.load_balancer_id
       WHERE \(fragment: condition) ORDER BY l.protocol, l.port
      """,
      """
      SELECT m.load_balancer_id, m.protocol, m.port, coalesce(m.address, a.address), m.member_port, n.id
        FROM load_balancer_members m
        JOIN load_balancers b ON b.id = m.load_balancer_id
        LEFT JOIN \(fragment: firstAddress(of: "m")) a ON true
        -- An address that a NIC has is tried like the NIC.
        LEFT JOIN addresses o ON o.subnet_id = m.subnet_id AND o.address = coalesce(m.address, a.address)
        LEFT JOIN nics n ON n.id = o.nic_id AND n.deleted_at IS NULL
       WHERE coalesce(m.address, a.address) IS NOT NULL AND (m.nic_id IS NULL OR n.id IS NOT NULL)
         AND \(fragment: condition)
       ORDER BY 4, 5
      """,
    ])
    var members: [Place: [NetworkModel.LoadBalancer.Member]] = [:]
    for row in results[2] {
      guard let port = UInt16(exactly: try row.get(4, as: Int.self)) else { continue }
      members[try Place(row), default: []].append(.init(address: try row.get(3), port: port, nic: try row.get(5)))
    }
    var listeners: [UUID: [NetworkModel.LoadBalancer.Listener]] = [:]
    for row in results[1] {
      let place = try Place(row)
      guard let port = UInt16(exactly: place.port),
        let kind = NetworkModel.LoadBalancer.ListenerProtocol(rawValue: place.word)
      else { continue }
      listeners[place.balancer, default: []].append(
        .init(protocol: kind, port: port, members: members[place] ?? [], healthCheck: try check(try row.get(3))))
    }
    return try results[0].map { row in
      let id = try row.get(0, as: UUID.self)
      let sources = zip(try row.get(6, as: [UUID]?.self) ?? [], try row.get(7, as: [IPAddress]?.self) ?? [])
      return .loadBalancer(
        NetworkModel.LoadBalancer(
          id: LoadBalancerID(id), project: try row.get(1), name: try row.get(2), address: try row.get(3),
          listeners: listeners[id] ?? [], networks: [try row.get(4)],
          routers: Set([try row.get(5, as: RouterID?.self)].compactMap { $0 }),
          healthCheckSources: Dictionary(sources.map { (SubnetID($0), $1) }) { first, _ in first }))
    }
  }

  /// Names a listener.
  private struct Place: Hashable {
    var balancer: UUID
    var word: String
    var port: Int

    init(_ row: Row) throws {
      balancer = try row.get(0)
      word = try row.get(1)
      port = try row.get(2)
    }
  }

  private static func check(_ text: JSONText?) throws -> NetworkModel.LoadBalancer.HealthCheck? {
    guard let text else { return nil }
    let value = try JSONValue.parse(text.text)
    var check = NetworkModel.LoadBalancer.HealthCheck()
    check.interval = value["interval_seconds"]?.intValue ?? check.interval
    check.timeout = value["timeout_seconds"]?.intValue ?? check.timeout
    check.failures = value["failures"]?.intValue ?? check.failures
    check.successes = value["successes"]?.intValue ?? check.successes
    return check
  }
}
