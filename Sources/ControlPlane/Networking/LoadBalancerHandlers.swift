import AloftModel
import Foundation
import IPAddressing
import Postgres

/// The operations on load balancers.
struct LoadBalancerHandlers: Sendable {
  let plane: Plane
  private let balancers: Resources<LoadBalancerRecord>

  init(plane: Plane) {
    self.plane = plane
    balancers = Resources(plane, waking: [.networks])
  }

  func register(in table: inout HandlerTable) {
    table.on("listLoadBalancers") { try await balancers.list($0) }
    table.on("getLoadBalancer", balancers.get)
    table.on("createLoadBalancer", create)
    table.on("updateLoadBalancer", update)
    table.on("deleteLoadBalancer") { try await balancers.delete($0) }
  }

  private struct CreateBody: Decodable {
    var name: String
    var labels: [String: String]?
    var subnet: String
    var address: String?
    var listeners: [LoadBalancerPlan.Listener]?
  }

  private struct UpdateBody: Decodable {
    var name: String?
    var labels: [String: String]?
    var listeners: [LoadBalancerPlan.Listener]?
  }

  private func create(_ call: Call) async throws -> Reply {
    let body = try call.decode(CreateBody.self)
    let seed = plane.environment.random()
    return try await balancers.create(call) { id, project, session in
      let subnet = try ResourceStore<SubnetRecord>.require(body.subnet, call, at: "/subnet", in: session)
      let chosen = try body.address.map { try AddressTaking.chosen($0, of: [subnet], at: "/address").address }
      try LoadBalancerStore.requireRouter(of: subnet, in: session)
      // An address belongs to a row, so the row comes first.
      try session.execute(
        """
        INSERT INTO load_balancers (id, project_id, name, labels, network_id, subnet_id, address)
        VALUES (\(id), \(project), \(body.name), \(JSONText((body.labels ?? [:]).jsonText))::jsonb, \(subnet.networkID),
                \(subnet.id), \(chosen ?? subnet.cidr.base))
        """
      ) { ResourceStore<LoadBalancerRecord>.refusal(of: $0, name: body.name) }
      if let chosen {
        try AddressTaking.take(chosen, of: subnet, for: .loadBalancer(id), at: "/address", in: session)
      } else {
        let taken = try AddressTaking.takeAny(
          of: [subnet], for: .loadBalancer(id), seed: seed, at: "/subnet", in: session)
        try session.execute("UPDATE load_balancers SET address = \(taken.address) WHERE id = \(id)")
      }
      try LoadBalancerStore.replace(body.listeners ?? [], of: id, call, seed: seed, in: session)
    }
  }

  private func update(_ call: Call) async throws -> Reply {
    let body = try call.decode(UpdateBody.self)
    let seed = plane.environment.random()
    return try await balancers.update(call, name: body.name, labels: body.labels) { balancer, session in
      guard let listeners = body.listeners else { return }
      try LoadBalancerStore.replace(listeners, of: balancer.id, call, seed: seed, in: session)
    }
  }
}
