import AloftModel
import Foundation
import HTTPTypes
import JSON
import Postgres

/// The operations on NICs. Those that change what a guest has are carried out by its node: they are operations on the VM.
struct NICHandlers: Sendable {
  let plane: Plane
  private let nics: Resources<NICRecord>
  private typealias Store = ResourceStore<NICRecord>

  init(plane: Plane) {
    self.plane = plane
    nics = Resources(plane, waking: [.networks])
  }

  func register(in table: inout HandlerTable) {
    table.on("listNICs", list)
    table.on("getNIC", nics.get)
    table.on("createNIC", create)
    table.on("updateNIC", update)
    table.on("deleteNIC", delete)
  }

  /// How long a guest may take to get a NIC, or to let go of one.
  private static let operationSeconds = 300

  private func list(_ call: Call) async throws -> Reply {
    try await nics.list(call) { session in
      var condition: SQL = ""
      if let reference = call.string("vm") {
        guard let vm = try VMHandlers.found(reference, call, in: session) else { return " AND false" }
        condition.append(" AND r.vm_id = \(vm.id)")
      }
      if let reference = call.string("network") {
        guard let network = try ResourceStore<NetworkRecord>.find(reference, call, in: session) else {
          return " AND false"
        }
        condition.append(" AND r.network_id = \(network.id)")
      }
      return condition
    }
  }

  private func create(_ call: Call) async throws -> Reply {
    let wish = try call.decode(NICWish.self)
    guard let reference = call.body?["vm"]?.stringValue else { throw Problem(.missingField, "vm is missing") }
    let operation = OperationID(plane.environment.newUUID())
    let environment = plane.environment
    let reply = try await plane.change(call) { session in
      let vm = try living(reference, call, in: session)
      try refuseUnconnected(vm, in: session)
      let count = try session.one("SELECT count(*), coalesce(max(position) + 1, 0) FROM nics WHERE vm_id = \(vm.id)")
      guard let count, try count.get(0, as: Int.self) < NICStore.mostOfVM else {
        throw Problem(.limitReached, "a VM has at most \(NICStore.mostOfVM) NICs; delete one of \(vm.name)'s first")
      }
      let creation = try wish.resolve(call, at: "", environment, in: session)
      try NICStore.insert([creation], vm: vm.id, project: vm.projectID, from: try count.get(1), in: session)
      let accepted = try accept(.attachNIC, operation, vm, call, in: session)
      var changed = try nics.changed(creation.id, .nicCreated, in: session)
      changed.effects.wake.formUnion(accepted)
      changed.reply = try shown(creation.id, operation, call, in: session)
      changed.reply.headers[.location] = "/v1/nics/\(creation.id)"
      return changed
    }
    return await plane.waited(call, reply)
  }

  private struct UpdateBody: Decodable {
    var labels: [String: String]?
    var securityGroups: [String]?
    var antiSpoofing: Bool?
    var allowedPairs: [NICWish.Pair]?
    var ingressKbps: Int?
    var egressKbps: Int?
  }

  /// What OVN alone carries out takes effect at once, without the guest.
  private func update(_ call: Call) async throws -> Reply {
    let body = try call.decode(UpdateBody.self)
    // Null lifts a limit.
    let lifts = (call.body?["ingress_kbps"] == .null, call.body?["egress_kbps"] == .null)
    return try await plane.change(call) { session in
      let nic = try Store.lock(call, to: .change, in: session)
      let pairs = try body.allowedPairs.map { pairs in
        JSONText(try NICWish.pairs(pairs, besides: try NetworkMACs.of(nic.networkID, in: session), at: ""))
      }
      if let names = body.securityGroups {
        let groups = try NICWish.groups(names, call, at: "", in: session)
        try session.execute(
          "DELETE FROM nic_security_groups WHERE nic_id = \(nic.id) AND group_id <> ALL(\(groups))")
        try session.execute(
          """
          INSERT INTO nic_security_groups (nic_id, group_id) SELECT \(nic.id), unnest(\(groups)::uuid[])
          ON CONFLICT DO NOTHING
          """)
      }
      let labels = body.labels.map { JSONText($0.jsonText) }
      try session.execute(
        """
        UPDATE nics SET labels = coalesce(\(labels)::jsonb, labels),
                        anti_spoofing = coalesce(\(body.antiSpoofing), anti_spoofing),
                        allowed_pairs = coalesce(\(pairs)::jsonb, allowed_pairs),
                        ingress_kbps = CASE WHEN \(lifts.0)::boolean THEN NULL
                                       ELSE coalesce(\(body.ingressKbps), ingress_kbps) END,
                        egress_kbps = CASE WHEN \(lifts.1)::boolean THEN NULL
                                      ELSE coalesce(\(body.egressKbps), egress_kbps) END,
                        revision = revision + 1, updated_at = aloft_now()
         WHERE id = \(nic.id)
        """)
      return try nics.changed(nic.id, .nicUpdated, in: session)
    }
  }

  private func delete(_ call: Call) async throws -> Reply {
    let operation = OperationID(plane.environment.newUUID())
    let reply = try await plane.change(call) { session in
      let nic = try Store.require(call, in: session)
      // The VM first: locks are taken in that order.
      let vm = try living(nic.vm.description, call, in: session)
      let locked = try Store.lock(call, to: .change, in: session)
      try session.execute(
        "UPDATE nics SET deleted_at = aloft_now(), revision = revision + 1, updated_at = aloft_now() WHERE id = \(nic.id)"
      )
      let accepted = try accept(.detachNIC, operation, vm, call, in: session)
      try EventStore.append(
        .nicDeleted, project: vm.projectID, resource: nic.id.uuid, data: ["name": locked.name], in: session)
      return Changed(
        reply: try shown(nic.id, operation, call, in: session),
        effects: Effects(wake: accepted.union([.networks, .events])), resource: nic.id.uuid, project: vm.projectID)
    }
    return await plane.waited(call, reply)
  }

  // MARK: Shared

  /// Locks the VM that gets or loses a NIC.
  private func living(_ reference: String, _ call: Call, in session: Session) throws -> VMRecord {
    guard let found = try VMHandlers.found(reference, call, in: session),
      let vm = try VMStore.lock(found.id, in: session)
    else {
      throw Problem.field(.notFound, "/vm", "there is no VM \(reference) in this project")
    }
    try VMHandlers.requireLiving(vm, to: "change its NICs")
    return vm
  }

  /// Refuses to plug into a VM whose node cannot connect it: the NIC would keep the VM from ever starting there.
  private func refuseUnconnected(_ vm: VMRecord, in session: Session) throws {
    let row = try session.one(
      """
      SELECT n.name, coalesce(n.networking ->> 'problem', 'its agent knows nothing of networks')
        FROM claims c JOIN nodes n ON n.id = c.node_id
       WHERE c.vm_id = \(vm.id) AND c.purpose = 'run'
         AND (n.networking IS NULL OR n.networking ->> 'problem' IS NOT NULL)
      """)
    guard let row else { return }
    throw Problem.field(
      .wrongState, "/vm",
      "node \(try row.get(0, as: String.self)), which has VM \(vm.name), cannot connect it to networks: \(try row.get(1, as: String.self))"
    )
  }

  /// Puts the VM's document with another set of NICs in front of its agent.
  private func accept(
    _ kind: OperationKind, _ operation: OperationID, _ vm: VMRecord, _ call: Call, in session: Session
  ) throws -> Set<Topic> {
    let intended = try VMStore.intend(vm.id, in: session)
    try OperationStore.accept(
      operation, kind, project: vm.projectID, vm: vm.id, generation: intended.generation,
      seconds: Self.operationSeconds, author: call.author, in: session)
    return Set([.work, .events] + [intended.node.map { Topic.node($0.uuid) }].compactMap { $0 })
  }

  private func shown(_ id: NICID, _ operation: OperationID, _ call: Call, in session: Session) throws -> Reply {
    guard var nic = try Store.find(id, in: session) else { throw Store.absent("\(id)") }
    nic.operation = try OperationStore.find(operation, in: session)
    return .json(nic, status: call.isDryRun ? .ok : .accepted, etag: nic.etag)
  }
}
