import AloftModel
import Foundation
import HTTPTypes
import JSON
import Postgres

extension VolumeHandlers {
  private struct UpdateBody: Decodable {
    var name: String?
    var labels: [String: String]?
    var deleteWithVm: Bool?
  }

  /// How long a guest that runs may take to be held to other limits.
  private static let limitSeconds = 300

  /// Changes words, and the I/O limits, which are the VM's business where one has the volume: its node changes them under the guest.
  func update(_ call: Call) async throws -> Reply {
    let body = try call.decode(UpdateBody.self)
    let change = call.body?["io_limits"]
    let labels = body.labels.map { JSONText($0.jsonText) }
    let operation = OperationID(plane.environment.newUUID())
    let reply = try await plane.change(call) { session in
      let found = try Store.require(call, in: session)
      // VMs are locked before volumes.
      let vm = try change == nil ? nil : found.vmID.flatMap { try VMStore.lock($0, in: session) }
      guard let (volume, _) = try VolumeStore.lock(found.id, in: session) else { throw Store.absent(found.name) }
      try call.requireMatch(volume.etag)
      try Self.requireLiving(volume, to: "change")
      let limits = try change.map { try volume.limits.changed(by: $0) } ?? volume.limits
      try limits.requireSense()
      if limits != volume.limits, volume.vmID != vm?.id {
        throw Problem(.wrongState, "volume \(volume.name) was attached or detached a moment ago; look again")
      }
      // Whoever makes a volume of this name holds the node, and waits for what becomes of the row.
      if let vm { try VolumeStore.holdNodes(of: [], and: [vm.nodeID], in: session) }
      // In one update: behind another one of the same transaction PostgreSQL would look at the row's VM again, which is not locked where
      // only words change, and wait for whoever has it locked and waits for the volume.
      try session.execute(
        """
        UPDATE volumes SET name = coalesce(\(body.name), name), labels = coalesce(\(labels)::jsonb, labels),
               delete_with_vm = coalesce(\(body.deleteWithVm), delete_with_vm), io_limits = \(limits.text)::jsonb,
               revision = revision + 1, updated_at = aloft_now()
         WHERE id = \(volume.id)
        """
      ) { Store.refusal(of: $0, name: body.name ?? volume.name) }
      try EventStore.append(
        .volumeUpdated, project: volume.project, resource: volume.id.uuid, data: ["name": volume.name], in: session)
      guard limits != volume.limits, let vm, !volume.isDetaching, !vm.facts.intent.deleted, vm.facts.host != nil else {
        return try answer(volume.id, .ok, wake: [.events], in: session)
      }
      let intended = try VMStore.intend(vm.id, in: session)
      try OperationStore.accept(
        operation, .limitVolume, project: vm.projectID, vm: vm.id, generation: intended.generation,
        seconds: Self.limitSeconds, author: call.author, in: session)
      var wake: Set<Topic> = [.work, .events]
      if let node = intended.node { wake.insert(.node(node.uuid)) }
      return try accepted(volume.id, call, wake: wake, in: session)
    }
    return await plane.waited(call, reply)
  }
}
