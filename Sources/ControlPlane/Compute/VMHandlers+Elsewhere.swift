import AloftModel
import Foundation
import JSON
import Postgres

/// A VM that has lost its node, which was removed, is started on another one: its volumes are all in pools that nodes share, and the
/// agents there cut off whoever may still have them open.
extension VMHandlers {
  /// No candidate had the room any more, or the VM was started by somebody else. Nothing was written.
  private struct LostRace: Error {}
  private static let rounds = 16

  /// Nil where the VM has a node, or is to be deleted: nothing is to be placed.
  func startElsewhere(_ call: Call) async throws -> Reply? {
    for round in 0..<Self.rounds {
      guard let wanted = try await plane.database.run({ session in try lost(call, in: session) }) else { return nil }
      switch try await plane.inventory.place(wanted, fresh: round > 0, seed: plane.environment.random()) {
      case .refused(let refusal): throw Problem.noCapacity(refusal)
      case .placed(let nodes):
        for node in nodes {
          do {
            let reply = try await move(call, to: node)
            if !call.isDryRun, !reply.isRepeated { await plane.inventory.claimed(wanted, on: node) }
            return await plane.waited(call, reply)
          } catch {
            let isFull = (error as? PostgresError)?.isCheckViolation("claims_within_node_limit") ?? false
            guard isFull || error is LostRace else { throw error }
          }
        }
      }
    }
    throw Problem(.unavailable, "too many requests wanted the same room; try again")
  }

  /// What a VM without a node wants of one.
  private func lost(_ call: Call, in session: Session) throws -> NodeInventory.Wanted? {
    let vm = try find(call, in: session)
    guard vm.facts.host == nil, !vm.facts.intent.deleted else { return nil }
    let row = try session.one(
      """
      SELECT v.accelerator, v.node_selector, i.architecture FROM vms v LEFT JOIN images i ON i.id = v.image_id
       WHERE v.id = \(vm.id)
      """)
    guard let row else { return nil }
    var wanted = NodeInventory.Wanted(
      vcpus: vm.vcpus, memoryMiB: vm.memoryMiB, diskGiB: 0, architecture: try row.get(2),
      accelerator: try row.get(0),
      nodeSelector: try JSONCoder.decode(
        [String: String].self, from: Array(try row.get(1, as: JSONText.self).text.utf8)), image: nil,
      needsNetworks: !vm.nics.isEmpty)
    for volume in try Self.volumes(of: vm, in: session) { wanted.volumes.add(volume) }
    return wanted
  }

  /// The VM's volumes, none of which is lost.
  private static func volumes(of vm: VMRecord, in session: Session) throws -> [VolumeRecord] {
    guard vm.bootDisk != nil else {
      throw Problem(
        .wrongState, "VM \(vm.name) has lost its node, and has no volume to boot from; it can only be deleted")
    }
    let volumes = try session.query(
      """
      SELECT \(fragment: VolumeRecord.columns) FROM volumes r \(fragment: VolumeRecord.joins)
       WHERE r.vm_id = \(vm.id) ORDER BY r.id
      """
    ).map { try VolumeRecord($0) }
    if let lost = volumes.first(where: \.pool.isLocal) {
      throw Problem(
        .wrongState,
        """
        VM \(vm.name) has lost its node, and with it volume \(lost.name), which was in pool \(lost.pool.name) that nodes do not share; \
        it can only be deleted
        """)
    }
    return volumes
  }

  /// Takes room on a node for the next incarnation, and has the volumes handed over to it.
  private func move(_ call: Call, to node: NodeID) async throws -> Reply {
    let operation = OperationID(plane.environment.newUUID())
    return try await plane.change(call) { session in
      let found = try lock(call, in: session)
      guard found.facts.host == nil, !found.facts.intent.deleted else { throw LostRace() }
      try session.execute("SELECT 1 FROM volumes WHERE vm_id = \(found.id) ORDER BY id FOR UPDATE")
      let volumes = try Self.volumes(of: found, in: session)
      try VolumeStore.holdNodes(of: volumes.map(\.id.uuid), and: [node], in: session)
      let room = try session.one("SELECT 1 FROM nodes WHERE id = \(node) AND schedulable FOR NO KEY UPDATE")
      guard room != nil else { throw LostRace() }
      // What was to happen once was to happen to the guest that is gone.
      try session.execute("DELETE FROM vm_requests WHERE vm_id = \(found.id)")
      try session.execute("UPDATE vms SET incarnation = incarnation + 1 WHERE id = \(found.id)")
      try session.execute(
        """
        INSERT INTO claims (vm_id, incarnation, node_id, vcpus, memory_mib)
        SELECT id, incarnation, \(node), vcpus, memory_mib FROM vms WHERE id = \(found.id)
        """)
      var wake: Set<Topic> = [.node(node.uuid), .work, .events]
      if !found.nics.isEmpty { wake.insert(.networks) }
      for volume in volumes {
        let next = volume.nodeID == node ? nil : node
        let intended = try VolumeStore.intend(volume.id, "next_node_id = \(next),", in: session)
        if let other = intended.node { wake.insert(.node(other.uuid)) }
        try WorkQueue.wake(.volume, volume.id.uuid, in: session)
      }
      let intended = try VMStore.intend(found.id, power: .running, in: session)
      try OperationStore.accept(
        operation, .startVM, project: found.projectID, vm: found.id, generation: intended.generation, seconds: 600,
        author: call.author, in: session)
      guard let after = try VMStore.find(found.id, in: session) else { throw LostRace() }
      if let told = VMStore.tellingStateChange(of: found, from: found.facts, to: after.facts) {
        try session.execute(told)
      }
      return Changed(
        reply: .json(after, status: call.isDryRun ? .ok : .accepted, etag: after.etag), effects: Effects(wake: wake),
        resource: found.id.uuid, project: found.projectID)
    }
  }
}
