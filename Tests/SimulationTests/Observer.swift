import AloftModel
@testable import ControlPlane
import Foundation
import Logging
import Postgres
import SimulatedHypervisor

/// Looks at the database from outside, in virtual time.
final class Observer: Sendable {
  private let database: Database
  private let clock: VirtualClock
  private let images: ImageContents

  init(url: String, clock: VirtualClock, images: ImageContents) throws {
    database = try Database(
      configuration: DatabaseConfiguration(
        url: url, poolSize: 1, poolTimeout: .seconds(60), idleCheckAfter: .seconds(3600)),
      logger: Laboratory.silent)
    self.clock = clock
    self.images = images
  }

  func shutDown() async { await database.shutdown() }

  private func setClock() async throws {
    let seconds = Double(clock.now().wall) / 1000
    try await database.run { session in
      _ = try session.query("SELECT set_config('aloft.now', to_timestamp(\(seconds)::float8)::text, false)")
    }
  }

  /// A crash of PostgreSQL empties what is unlogged.
  func forgetUnlogged() async throws {
    try await database.transaction { session in
      try session.execute("DELETE FROM node_leases")
      try session.execute("DELETE FROM stream_requests")
    }
  }

  /// One text for each row.
  func texts(_ sql: SQL) async throws -> [String] {
    try await setClock()
    return try await database.query(sql).map { try $0.get(0) }
  }

  /// What `aloftd check` says.
  func findings() async throws -> [String] {
    try await setClock()
    return try await ConsistencyCheck(database: database, images: images).findings().map(\.description)
  }

  /// Claims and volumes beyond what a node has.
  func oversold() async throws -> [String] {
    try await texts(
      """
      SELECT format('node %s: %s of %s vCPUs, %s of %s MiB, %s of %s GiB', n.name, c.vcpus, n.vcpus_limit, c.memory,
                    n.memory_mib_limit, c.disk, n.disk_gib_limit)
        FROM nodes n CROSS JOIN LATERAL (
          SELECT coalesce(sum(vcpus), 0) AS vcpus, coalesce(sum(memory_mib), 0) AS memory,
                 (SELECT coalesce(sum(size_gib), 0) FROM volumes v WHERE v.node_id = n.id) AS disk
            FROM claims WHERE node_id = n.id) c
       WHERE c.vcpus > n.vcpus_limit OR c.memory > n.memory_mib_limit OR c.disk > n.disk_gib_limit
      """)
  }

  /// All VMs as the control plane knows them.
  func vms() async throws -> [VMRecord] {
    try await setClock()
    return try await database.run { session in
      try session.query("SELECT \(fragment: VMRecord.columns) FROM \(fragment: VMRecord.source) ORDER BY v.id").map {
        try VMRecord($0)
      }
    }
  }

  /// How an operation ended.
  struct Ending: Sendable {
    var status: String
    var error: String?
    var objection: String?
    /// How many events tell of it.
    var endings: Int
  }

  func operations() async throws -> [OperationID: Ending] {
    let rows = try await database.query(
      """
      SELECT o.id, o.status, o.error_code,
             CASE WHEN o.status = 'failed' AND coalesce(o.error_detail, '') = '' THEN 'failed without a reason'
                  WHEN o.status = 'failed' AND o.error_code <> 'superseded' AND o.deadline > o.finished_at
                  THEN format('%s of VM %s gave up before its time: %s', o.kind, o.resource_id, o.error_detail) END,
             (SELECT count(*) FROM events e WHERE e.kind = 'operation.ended' AND e.resource_id = o.id)
        FROM operations o
      """)
    return try rows.reduce(into: [:]) { ended, row in
      ended[try row.get(0)] = Ending(
        status: try row.get(1), error: try row.get(2), objection: try row.get(3), endings: try row.get(4))
    }
  }

  /// How many accepted changes of VMs and NICs are in the audit.
  func auditedChanges() async throws -> Int {
    try await database.one(
      "SELECT count(*) FROM audit WHERE (operation LIKE '%VM' OR operation LIKE '%NIC') AND refusal IS NULL")?.get(0)
      ?? -1
  }

  /// The NICs of each VM, with those that their guests are to let go of.
  func nics() async throws -> [VMID: [(id: NICID, isLeaving: Bool)]] {
    try await database.query("SELECT vm_id, id, deleted_at IS NOT NULL FROM nics ORDER BY id").reduce(into: [:]) {
      $0[try $1.get(0, as: VMID.self), default: []].append((try $1.get(1), try $1.get(2)))
    }
  }

  /// Addresses that are somebody's.
  func addressesInUse() async throws -> Int {
    try await database.one("SELECT count(*) FROM addresses WHERE released_at IS NULL")?.get(0) ?? -1
  }

  /// The events behind `cursor` as a reader gets them.
  func events(after cursor: EventStore.Cursor) async throws -> [EventStore.Record] {
    try await database.run { session in
      try EventStore.after(cursor, .everything, limit: 100_000, in: session).records
    }
  }

  func eventCount() async throws -> Int { try await database.one("SELECT count(*) FROM events")?.get(0) ?? -1 }
}
