import AloftModel
import Foundation
import IPAddressing
import Postgres

/// The operations on routers.
struct RouterHandlers: Sendable {
  let plane: Plane
  private let routers: Resources<RouterRecord>

  init(plane: Plane) {
    self.plane = plane
    routers = Resources(plane, waking: [.networks])
  }

  func register(in table: inout HandlerTable) {
    table.on("listRouters") { try await routers.list($0) }
    table.on("getRouter", routers.get)
    table.on("createRouter", create)
    table.on("updateRouter", update)
    table.on("deleteRouter") { try await routers.delete($0, RouterUse.refuseDeletion) }
    table.on("putRouterInterface", attach)
    table.on("deleteRouterInterface", detach)
  }

  private struct Body: Decodable {
    var name: String?
    var labels: [String: String]?
    var externalNetwork: String?
    var snat: Bool?
    var routes: [SubnetPlan.HostRoute]?
  }

  private func create(_ call: Call) async throws -> Reply {
    let body = try call.decode(Body.self)
    let name = body.name ?? ""
    let (mac, seed) = (MACAddress(locallyAdministered: plane.environment.random()), plane.environment.random())
    return try await routers.create(call) { id, project, session in
      try session.execute(
        """
        INSERT INTO routers (id, project_id, name, labels, snat)
        VALUES (\(id), \(project), \(name), \(JSONText((body.labels ?? [:]).jsonText))::jsonb, \(body.snat ?? true))
        """
      ) { ResourceStore<RouterRecord>.refusal(of: $0, name: name) }
      if let network = try external(body, call, in: session) {
        try RouterStore.connect(id, to: network, mac: mac, seed: seed, in: session)
      }
      try write(body.routes, of: id, in: session)
    }
  }

  private func update(_ call: Call) async throws -> Reply {
    let body = try call.decode(Body.self)
    let (mac, seed) = (MACAddress(locallyAdministered: plane.environment.random()), plane.environment.random())
    return try await routers.update(call, name: body.name, labels: body.labels) { router, session in
      if let snat = body.snat { try session.execute("UPDATE routers SET snat = \(snat) WHERE id = \(router.id)") }
      if call.body?["external_network"] != nil {
        let network = try external(body, call, in: session)
        if network?.id != router.externalNetworkID {
          var router = router
          // Of the routes only those count that it is to have.
          if body.routes != nil { router.routes = [] }
          try RouterUse.refuseLeaving(router, in: session)
          try RouterStore.connect(router.id, to: network, mac: mac, seed: seed, in: session)
        } else if let network {
          try RouterStore.complete(router, at: network, seed: seed, in: session)
        }
      }
      try write(body.routes, of: router.id, in: session)
    }
  }

  private func external(_ body: Body, _ call: Call, in session: Session) throws -> ExternalNetworkRecord? {
    try body.externalNetwork.map {
      try ResourceStore<ExternalNetworkRecord>.require($0, call, at: "/external_network", in: session)
    }
  }

  private func write(_ routes: [SubnetPlan.HostRoute]?, of router: RouterID, in session: Session) throws {
    guard let routes else { return }
    let planned = try RouterStore.routes(routes, of: router, in: session)
    try session.execute("UPDATE routers SET routes = \(JSONText(planned.jsonText))::jsonb WHERE id = \(router)")
  }

  private func attach(_ call: Call) async throws -> Reply {
    let mac = MACAddress(locallyAdministered: plane.environment.random())
    return try await routers.update(call) { router, session in
      let subnet = try ResourceStore<SubnetRecord>.require(call, in: session)
      if router.interfaces.contains(where: { $0.subnetId == subnet.id.uuid }) { return }
      try RouterStore.attach(subnet, to: router, mac: mac, in: session)
    }
  }

  private func detach(_ call: Call) async throws -> Reply {
    try await routers.edit(call) { router, session in
      let subnet = try ResourceStore<SubnetRecord>.require(call, in: session)
      guard router.interfaces.contains(where: { $0.subnetId == subnet.id.uuid }) else {
        throw Problem(.notFound, "subnet \(subnet.name) is not attached to router \(router.name)")
      }
      try RouterStore.detach(subnet, from: router, in: session)
      return nil
    }
  }
}
