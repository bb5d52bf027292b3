import AloftModel
import Foundation
import IPAddressing
import Postgres

/// The operations on floating IPs.
struct FloatingIPHandlers: Sendable {
  let plane: Plane
  private let floatingIPs: Resources<FloatingIPRecord>

  init(plane: Plane) {
    self.plane = plane
    floatingIPs = Resources(plane, waking: [.networks])
  }

  func register(in table: inout HandlerTable) {
    table.on("listFloatingIPs", list)
    table.on("getFloatingIP", floatingIPs.get)
    table.on("createFloatingIP", create)
    table.on("updateFloatingIP", update)
    table.on("deleteFloatingIP") { try await floatingIPs.delete($0) }
  }

  private struct CreateBody: Decodable {
    var externalNetwork: String
    var address: String?
    var nic: String?
    var labels: [String: String]?
  }

  private struct UpdateBody: Decodable {
    var nic: String?
    var labels: [String: String]?
  }

  /// A filter that matches nothing is an empty page, not an error.
  private func list(_ call: Call) async throws -> Reply {
    try await floatingIPs.list(call) { session in
      var condition: SQL = ""
      if let text = call.string("address") {
        guard let address = IPAddress(text) else { return " AND false" }
        condition.append(
          """
           AND EXISTS (SELECT 1 FROM addresses f WHERE f.floating_ip_id = r.id AND f.address = \(address))
          """)
      }
      if let text = call.string("nic") {
        guard let nic = NICID(text) else { return " AND false" }
        condition.append(" AND r.nic_id = \(nic)")
      }
      if let reference = call.string("external_network") {
        guard let network = try ResourceStore<ExternalNetworkRecord>.find(reference, call, in: session) else {
          return " AND false"
        }
        condition.append(" AND r.network_id = \(network.id)")
      }
      return condition
    }
  }

  private func create(_ call: Call) async throws -> Reply {
    let body = try call.decode(CreateBody.self)
    let (mac, seed) = (MACAddress(locallyAdministered: plane.environment.random()), plane.environment.random())
    return try await floatingIPs.create(call) { id, project, session in
      let network = try ResourceStore<ExternalNetworkRecord>.require(
        body.externalNetwork, call, at: "/external_network", in: session)
      try session.execute(
        """
        INSERT INTO floating_ips (id, project_id, labels, network_id, mac)
        VALUES (\(id), \(project), \(JSONText((body.labels ?? [:]).jsonText))::jsonb, \(network.id), \(mac))
        """
      ) { ResourceStore<FloatingIPRecord>.refusal(of: $0, name: "") }
      let subnets = try SubnetStore.all(of: network.id.uuid, in: session).filter { !$0.cidr.isIPv6 }
      guard !subnets.isEmpty else {
        throw Problem.field(
          .wrongState, "/external_network",
          "external network \(network.name) has no IPv4 subnet, so no address; an operator has to make one")
      }
      if let text = body.address {
        let chosen = try AddressTaking.chosen(text, of: subnets, at: "/address")
        try AddressTaking.take(
          chosen.address, of: chosen.subnet, for: .floatingIP(id), at: "/address", in: session)
      } else {
        _ = try AddressTaking.takeAny(
          of: subnets, for: .floatingIP(id), seed: seed, at: "/external_network", in: session)
      }
      if let nic = body.nic { try FloatingIPStore.lead(id, of: network.id, to: nic, call, in: session) }
    }
  }

  private func update(_ call: Call) async throws -> Reply {
    let body = try call.decode(UpdateBody.self)
    return try await floatingIPs.update(call, labels: body.labels) { floatingIP, session in
      // Null unassigns it.
      if call.body?["nic"] == nil { return }
      try FloatingIPStore.lead(floatingIP.id, of: floatingIP.networkID, to: body.nic, call, in: session)
    }
  }
}
