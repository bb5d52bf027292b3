import AloftModel
import Foundation
import Postgres

/// The operations on nodes.
struct NodeHandlers: Sendable {
  let plane: Plane

  func register(in table: inout HandlerTable) {
    table.on("listNodes", list)
    table.on("getNode", get)
    table.on("updateNode", update)
    table.on("deleteNode", delete)
  }

  private func list(_ call: Call) async throws -> Reply {
    let cursor = try call.cursor()
    let records = try await plane.database.run { session in
      try NodeStore.page(labels: call.labelFilters(), after: cursor, limit: call.limit + 1, in: session)
    }
    return .page(records, limit: call.limit) { $0.id.uuid }
  }

  private func get(_ call: Call) async throws -> Reply {
    let reference = call.string("node") ?? ""
    let record = try await plane.database.run { session in try NodeStore.find(reference, in: session) }
    guard let record else { throw Problem(.notFound, "there is no node \(reference)") }
    return .json(record, etag: record.etag)
  }

  private struct UpdateBody: Decodable {
    var schedulable: Bool?
    var labels: [String: String]?
    var pool: String?
  }

  private func update(_ call: Call) async throws -> Reply {
    let body = try call.decode(UpdateBody.self)
    return try await plane.change(call) { session in
      try NodePoolStore.keepAsTheyAre(in: session)
      let node = try NodeStore.lock(call, in: session)
      try call.requireMatch(node.etag)
      let pool = try body.pool.map { try NodePoolStore.require($0, in: session).id }
      let labels = body.labels.map { JSONText($0.jsonText) }
      _ = try session.execute(
        """
        UPDATE nodes SET schedulable = coalesce(\(body.schedulable), schedulable),
                         labels = coalesce(\(labels)::jsonb, labels), pool_id = coalesce(\(pool)::uuid, pool_id),
                         revision = revision + 1, updated_at = aloft_now()
         WHERE id = \(node.id)
        """)
      try NodeStore.recomputeLimits(node: node.id, in: session)
      try EventStore.append(.nodeUpdated, project: nil, resource: node.id.uuid, data: ["name": node.name], in: session)
      guard let after = try NodeStore.find(node.id.description, in: session) else {
        throw Problem(.notFound, "node \(node.name) is gone")
      }
      return Changed(
        reply: .json(after, etag: after.etag), effects: Effects(wake: [.events]), resource: node.id.uuid)
    }
  }

  /// Without `force` only an empty node goes. With it, the operator vouches that the node writes nothing any more: that is the
  /// proof on which its VMs lose their place.
  private func delete(_ call: Call) async throws -> Reply {
    try await plane.change(call) { session in
      // VMs are locked before nodes, here as everywhere.
      let reference = call.string("node") ?? ""
      guard let found = try NodeStore.find(reference, in: session) else {
        throw Problem(.notFound, "there is no node \(reference)")
      }
      let isForced = call.bool("force")
      let orphans = isForced ? try NodeStore.releaseClaims(of: found.id, in: session) : []
      let volumes = try VolumeStore.loseNode(found.id, force: isForced, in: session)
      let node = try NodeStore.lock(call, in: session)
      try call.requireMatch(node.etag)
      let held = try session.one("SELECT count(*) FROM claims WHERE node_id = \(node.id)")?.get(0, as: Int.self) ?? 0
      guard held == 0 else {
        throw Problem(
          .inUse, "node \(node.name) holds \(held) VMs; delete them, or say force=true if the node is gone for good")
      }
      let kept = try session.someNames("SELECT name FROM volumes WHERE node_id = \(node.id) ORDER BY name")
      if let kept {
        throw Problem(
          .inUse,
          "node \(node.name) holds volumes: \(kept); delete them, or say force=true if the node is gone for good")
      }
      _ = try session.execute("DELETE FROM node_leases WHERE node_id = \(node.id)")
      _ = try session.execute("DELETE FROM nodes WHERE id = \(node.id)")
      var statements: [SQL] = []
      for vm in orphans {
        statements.append(WorkQueue.waking(.vm, vm.id.uuid))
        var after = vm.facts
        after.host = nil
        if let told = VMStore.tellingStateChange(of: vm, from: vm.facts, to: after) { statements.append(told) }
      }
      statements += volumes.map { WorkQueue.waking(.volume, $0) }
      _ = try session.pipeline(statements)
      try EventStore.append(.nodeRemoved, project: nil, resource: node.id.uuid, data: ["name": node.name], in: session)
      return Changed(
        reply: .noContent, effects: Effects(wake: [.events, .work, .node(node.id.uuid)]), resource: node.id.uuid)
    }
  }
}
