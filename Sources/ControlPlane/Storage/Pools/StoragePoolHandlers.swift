import AloftModel
import Foundation
import Postgres

/// The operations on storage pools.
struct StoragePoolHandlers: Sendable {
  let plane: Plane
  private let pools: Resources<StoragePoolRecord>
  private typealias Store = ResourceStore<StoragePoolRecord>

  init(plane: Plane) {
    self.plane = plane
    pools = Resources(plane)
  }

  func register(in table: inout HandlerTable) {
    table.on("listStoragePools", list)
    table.on("getStoragePool", get)
    table.on("createStoragePool", create)
    table.on("updateStoragePool", update)
    table.on("deleteStoragePool", delete)
  }

  /// Tenants choose among pools; how many nodes there are and how full they are is not their business.
  private static func shown(_ pool: StoragePoolRecord, to caller: Principal) -> StoragePoolRecord {
    if caller.cloudRole?.holds(.nodeRead) == true { return pool }
    var pool = pool
    pool.volumes = nil
    pool.whole = nil
    pool.places = nil
    return pool
  }

  private func list(_ call: Call) async throws -> Reply {
    let found = try await plane.database.run { session in try Store.page(call, where: "", in: session) }
    return .page(found.map { Self.shown($0, to: call.principal) }, limit: call.limit) { $0.id.uuid }
  }

  private func get(_ call: Call) async throws -> Reply {
    let pool = try await plane.database.run { session in try Store.require(call, in: session) }
    return .json(Self.shown(pool, to: call.principal), etag: pool.etag)
  }

  private struct CreateBody: Decodable {
    var name: String
    var kind: StoragePoolKind
    var labels: [String: String]?
    var overcommit: Double?
    var warningPercent: Int?
    var criticalPercent: Int?
  }

  private struct UpdateBody: Decodable {
    var labels: [String: String]?
    var overcommit: Double?
    var warningPercent: Int?
    var criticalPercent: Int?
  }

  private func create(_ call: Call) async throws -> Reply {
    let body = try call.decode(CreateBody.self)
    return try await pools.create(call) { id, _, session in
      let warning = body.warningPercent ?? 80
      let critical = body.criticalPercent ?? max(95, warning)
      try Self.require(warning, below: critical)
      try session.execute(
        """
        INSERT INTO storage_pools (id, name, kind, labels, overcommit, warning_percent, critical_percent)
        VALUES (\(id), \(body.name), \(body.kind), \(JSONText((body.labels ?? [:]).jsonText))::jsonb,
                \(body.overcommit ?? 1), \(warning), \(critical))
        """
      ) { Store.refusal(of: $0, name: body.name) }
    }
  }

  private func update(_ call: Call) async throws -> Reply {
    let body = try call.decode(UpdateBody.self)
    return try await plane.change(call) { session in
      let pool = try Store.lock(call, to: .change, in: session)
      if body.overcommit != nil, pool.name == StoragePoolRecord.localName {
        throw Problem.field(
          .wrongState, "/overcommit", "of pool local it is each node pool's disk_overcommit; change it there")
      }
      let warning = body.warningPercent ?? pool.warningPercent
      let critical = body.criticalPercent ?? pool.criticalPercent
      try Self.require(warning, below: critical)
      let labels = body.labels.map { JSONText($0.jsonText) }
      try session.execute(
        """
        UPDATE storage_pools SET labels = coalesce(\(labels)::jsonb, labels),
               overcommit = coalesce(\(body.overcommit), overcommit), warning_percent = \(warning),
               critical_percent = \(critical), revision = revision + 1, updated_at = aloft_now()
         WHERE id = \(pool.id)
        """)
      try StoragePlaces.recomputeLimits(pool: pool.id, in: session)
      return try pools.changed(pool.id, .storagePoolUpdated, in: session)
    }
  }

  private func delete(_ call: Call) async throws -> Reply {
    try await pools.delete(call) { pool, session in
      if pool.name == StoragePoolRecord.localName {
        throw Problem(.wrongState, "pool local is every node's own; it cannot be deleted")
      }
      let names = try session.someNames(
        "SELECT name FROM volumes WHERE pool_id = \(pool.id) OR moving_to = \(pool.id) ORDER BY name")
      if let names {
        throw Problem(.inUse, "storage pool \(pool.name) holds volumes: \(names); delete or move them first")
      }
      try session.execute("DELETE FROM storage_places WHERE pool_id = \(pool.id)")
    }
  }

  private static func require(_ warning: Int, below critical: Int) throws {
    if warning <= critical { return }
    throw Problem.field(
      .outOfRange, "/warning_percent", "\(warning) % is more than critical_percent, which is \(critical) %")
  }
}
