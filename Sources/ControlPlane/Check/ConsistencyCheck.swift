import Foundation
import Logging
import Postgres

/// Recomputes from scratch what is kept, and finds what nobody owns. `aloftd check` prints the findings; there must be none.
public struct ConsistencyCheck: Sendable {
  /// One difference.
  public struct Finding: Sendable, CustomStringConvertible {
    public var rule: String
    public var detail: String
    public var description: String { "\(rule): \(detail)" }
  }

  private let database: Database
  private let images: ImageContents?
  private let networking: NetworkingSettings
  private let logger: Logger

  /// Without `images` the image store is not looked at, without a northbound database OVN is not.
  public init(
    database: Database, images: ImageContents?, networking: NetworkingSettings = NetworkingSettings(),
    logger: Logger = Logger(label: "aloft.check")
  ) {
    self.database = database
    self.images = images
    self.networking = networking
    self.logger = logger
  }

  /// All that disk space is promised to.
  private static let disks: SQL = """
    (SELECT pool_id, node_id, size_gib FROM volumes
     UNION ALL SELECT moving_to, node_id, size_gib FROM volumes WHERE moving_to IS NOT NULL
     UNION ALL SELECT pool_id, node_id, promised_gib FROM snapshot_memories)
    """

  /// Each query returns one line of text for each difference.
  private static let rules: [(String, SQL)] = [
    (
      "a node's sums equal its claims, its volumes and memory in snapshots",
      """
      SELECT format('node %s: claimed %s vCPUs %s MiB %s GiB, its claims sum to %s %s, its volumes to %s', n.name,
                    n.vcpus_claimed, n.memory_mib_claimed, n.disk_gib_claimed, s.vcpus, s.memory_mib, d.gib)
        FROM nodes n
        CROSS JOIN LATERAL (
          SELECT coalesce(sum(vcpus), 0) AS vcpus, coalesce(sum(memory_mib), 0) AS memory_mib
            FROM claims c WHERE c.node_id = n.id) s
        CROSS JOIN LATERAL (
          SELECT coalesce(sum(v.gib), 0) AS gib FROM \(fragment: disks) v (pool_id, node_id, gib) JOIN storage_pools p ON p.id = v.pool_id
           WHERE v.node_id = n.id AND p.name = 'local') d
       WHERE (n.vcpus_claimed, n.memory_mib_claimed, n.disk_gib_claimed) <> (s.vcpus, s.memory_mib, d.gib)
      """
    ),
    (
      "a place's sum equals its volumes",
      """
      SELECT format('pool %s on node %s: claimed %s GiB, its volumes sum to %s', s.name, p.node_id, p.claimed_gib, d.gib)
        FROM storage_places p JOIN storage_pools s ON s.id = p.pool_id
        CROSS JOIN LATERAL (
          SELECT coalesce(sum(v.gib), 0) AS gib FROM \(fragment: disks) v (pool_id, node_id, gib)
           WHERE v.pool_id = p.pool_id AND v.node_id = p.node_id) d
       WHERE p.claimed_gib <> d.gib
      """
    ),
    (
      "a shared pool's sum equals its volumes",
      """
      SELECT format('pool %s: claimed %s GiB, its volumes sum to %s', s.name, s.claimed_gib, d.gib)
        FROM storage_pools s
        CROSS JOIN LATERAL (
          SELECT coalesce(sum(v.size_gib), 0) AS gib FROM volumes v WHERE s.id IN (v.pool_id, v.moving_to)) d
       WHERE s.claimed_gib <> CASE WHEN s.kind = 'rbd' THEN d.gib ELSE 0 END
      """
    ),
    (
      "a volume in a shared pool is, or is to be, where its VM is",
      """
      SELECT format('volume %s of VM %s', v.id, v.vm_id)
        FROM volumes v JOIN storage_pools s ON s.id = v.pool_id JOIN claims c ON c.vm_id = v.vm_id
       WHERE s.kind = 'rbd' AND v.deleted_at IS NULL AND coalesce(v.next_node_id, v.node_id) <> c.node_id
      """
    ),
    (
      "a volume in a pool that nodes do not share is where its VM is",
      """
      SELECT format('volume %s of VM %s', v.id, v.vm_id)
        FROM volumes v JOIN storage_pools s ON s.id = v.pool_id JOIN claims c ON c.vm_id = v.vm_id
       WHERE s.kind = 'dir' AND v.node_id IS DISTINCT FROM c.node_id
      """
    ),
    (
      "a volume that is being moved has its operation, or the move is being cleared away",
      """
      SELECT format('volume %s', v.id) FROM volumes v
       WHERE v.moving_to IS NOT NULL AND v.move_failure IS NULL AND v.deleted_at IS NULL
         AND NOT EXISTS (SELECT 1 FROM operations o
                          WHERE o.resource_id = v.id AND o.kind = 'volume.move' AND o.finished_at IS NULL)
      """
    ),
    (
      "an encrypted volume has a key",
      "SELECT format('volume %s', v.id) FROM volumes v WHERE v.encrypted AND v.sealed_key IS NULL"
    ),
    (
      "a backup of an encrypted volume has a key as long as it can be restored, and not longer",
      """
      SELECT format('backup %s', b.id) FROM backups b
       WHERE b.encrypted AND (b.sealed_key IS NULL) <> (b.deleted_at IS NOT NULL OR b.state = 'failed')
      """
    ),
    (
      "a deleted volume is of a VM or has an operation",
      """
      SELECT format('volume %s', v.id) FROM volumes v
       WHERE v.deleted_at IS NOT NULL AND v.vm_id IS NULL
         AND NOT EXISTS (SELECT 1 FROM operations o
                          WHERE o.resource_id = v.id
                            AND (o.kind = 'volume.delete' OR o.kind = 'volume.create' AND o.status = 'failed'))
      """
    ),
    (
      "a backup that is being made has its operation",
      """
      SELECT format('backup %s', b.id) FROM backups b
       WHERE b.state = 'creating' AND b.deleted_at IS NULL
         AND NOT EXISTS (SELECT 1 FROM operations o
                          WHERE o.resource_id = b.id AND o.kind = 'backup.create' AND o.finished_at IS NULL)
      """
    ),
    (
      "what is stored of a backup is what its chunks take",
      """
      SELECT format('backup %s: %s bytes stored, its chunks have %s', b.id, b.stored_bytes, c.bytes)
        FROM backups b,
             LATERAL (SELECT coalesce(sum(bytes), 0) AS bytes FROM backup_chunks WHERE backup_id = b.id AND stored) c
       WHERE b.stored_bytes <> c.bytes
      """
    ),
    (
      "a backup that was deleted is needed by later ones, or is cleared away",
      """
      SELECT format('backup %s', b.id) FROM backups b
       WHERE b.deleted_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM work w WHERE w.kind = 'backup' AND w.id = b.id)
         AND NOT EXISTS (SELECT 1 FROM backups l
                          WHERE l.volume_id = b.volume_id AND l.project_id = b.project_id AND l.deleted_at IS NULL
                            AND l.state IN ('creating', 'available', 'damaged'))
      """
    ),
    (
      "a schedule of backups is looked after",
      """
      SELECT format('volume %s', s.volume_id) FROM backup_schedules s JOIN volumes v ON v.id = s.volume_id
       WHERE v.deleted_at IS NULL
         AND NOT EXISTS (SELECT 1 FROM work w WHERE w.kind = 'backup_schedule' AND w.id = s.volume_id)
      """
    ),
    (
      "a node keeps one snapshot of a volume for backups, and another one while one is made",
      """
      SELECT format('volume %s: %s snapshots', volume_id, count(*)) FROM backups WHERE keeps_snapshot
       GROUP BY volume_id HAVING count(*) > 2
      """
    ),
    (
      "a snapshot is of a volume, one is being made from it, or it is looked after",
      """
      SELECT format('snapshot %s', s.id) FROM snapshots s
       WHERE NOT EXISTS (SELECT 1 FROM volume_snapshots m WHERE m.snapshot_id = s.id)
         AND NOT EXISTS (SELECT 1 FROM volumes v WHERE v.source_snapshot_id = s.id)
         AND NOT EXISTS (SELECT 1 FROM work w WHERE w.kind = 'snapshot' AND w.id = s.id)
      """
    ),
    (
      "a hidden snapshot is for a clone that is being made, is being deleted, or is looked after",
      """
      SELECT format('snapshot %s', s.id) FROM snapshots s
       WHERE s.hidden AND s.deleted_at IS NULL
         AND NOT EXISTS (SELECT 1 FROM volumes v WHERE v.source_snapshot_id = s.id)
         AND NOT EXISTS (SELECT 1 FROM work w WHERE w.kind = 'snapshot' AND w.id = s.id)
      """
    ),
    (
      "a node's limits are its capacity times its pool's ratios",
      """
      SELECT format('node %s: limits %s vCPUs %s MiB %s GiB', n.name, n.vcpus_limit, n.memory_mib_limit, n.disk_gib_limit)
        FROM nodes n JOIN node_pools s ON s.id = n.pool_id
       WHERE (n.vcpus_limit, n.memory_mib_limit, n.disk_gib_limit)
          <> (floor(n.vcpus * s.cpu_overcommit), floor(n.memory_mib * s.memory_overcommit),
              floor(n.disk_gib * s.disk_overcommit))
      """
    ),
    (
      "a claim is what its VM asks for, in its incarnation",
      """
      SELECT format('VM %s: claim of incarnation %s', v.id, c.incarnation)
        FROM claims c JOIN vms v ON v.id = c.vm_id
       WHERE (c.incarnation, c.vcpus, c.memory_mib) <> (v.incarnation, v.vcpus, v.memory_mib)
      """
    ),
    (
      "a project's usage equals its VMs and volumes",
      """
      SELECT format('project %s, slot %s: %s VMs %s vCPUs %s MiB %s GiB, they sum to %s %s %s %s', u.project_id, u.slot,
                    u.vms, u.vcpus, u.memory_mib, u.disk_gib, s.vms, s.vcpus, s.memory_mib, s.disk_gib)
        FROM project_usage u
        FULL JOIN (
          SELECT project_id, slot, sum(vms)::bigint AS vms, sum(vcpus)::bigint AS vcpus,
                 sum(memory_mib)::bigint AS memory_mib, sum(disk_gib)::bigint AS disk_gib
            FROM (SELECT project_id, aloft_usage_slot(id), 1, vcpus, memory_mib, 0 FROM vms
                  UNION ALL SELECT project_id, usage_slot, 0, 0, 0, size_gib FROM volumes
                  UNION ALL SELECT project_id, usage_slot, 0, 0, 0, promised_gib FROM snapshot_memories)
                 t (project_id, slot, vms, vcpus, memory_mib, disk_gib)
           GROUP BY 1, 2) s USING (project_id, slot)
       WHERE (u.vms, u.vcpus, u.memory_mib, u.disk_gib)
          IS DISTINCT FROM (coalesce(s.vms, 0), coalesce(s.vcpus, 0), coalesce(s.memory_mib, 0), coalesce(s.disk_gib, 0))
      """
    ),
    (
      "no project may take more at once than its quotas leave",
      """
      SELECT format('project %s: %s of %s used, credit %s, limit %s', u.project_id, q.used, q.name, q.credit,
                    aloft_quota_limit(u.project_id, q.name))
        FROM (SELECT project_id, sum(vms) AS vms, sum(vcpus) AS vcpus, sum(memory_mib) AS memory_mib,
                     sum(disk_gib) AS disk_gib, sum(vms_credit) AS vms_credit, sum(vcpus_credit) AS vcpus_credit,
                     sum(memory_mib_credit) AS memory_mib_credit, sum(disk_gib_credit) AS disk_gib_credit
                FROM project_usage GROUP BY 1) u,
             LATERAL (VALUES ('vms', vms, vms_credit), ('vcpus', vcpus, vcpus_credit),
                             ('memory_mib', memory_mib, memory_mib_credit),
                             ('disk_gib', disk_gib, disk_gib_credit)) q (name, used, credit)
       WHERE coalesce(q.credit, 1) > 0
         AND aloft_quota_limit(u.project_id, q.name) < coalesce(q.used + q.credit, 'Infinity')
      """
    ),
    (
      "no node knows of a document newer than its count",
      """
      SELECT format('VM %s: document %s, node at %s', v.id, v.assignment_revision, n.assignment_revision)
        FROM claims c JOIN vms v ON v.id = c.vm_id JOIN nodes n ON n.id = c.node_id
       WHERE v.assignment_revision > n.assignment_revision
      UNION ALL
      SELECT format('volume %s: document %s, node at %s', v.id, v.assignment_revision, n.assignment_revision)
        FROM volumes v JOIN nodes n ON n.id = v.node_id WHERE v.assignment_revision > n.assignment_revision
      """
    ),
    (
      "every open operation is looked after",
      """
      SELECT format('operation %s (%s)', o.id, o.kind) FROM operations o
       WHERE o.finished_at IS NULL
         AND NOT EXISTS (SELECT 1 FROM work w WHERE w.kind = split_part(o.kind, '.', 1) AND w.id = o.resource_id)
      """
    ),
    (
      "no operation outlives its deadline",
      """
      SELECT format('operation %s (%s), due %s', id, kind, deadline) FROM operations
       WHERE finished_at IS NULL AND deadline < aloft_now() - interval '1 minute'
      """
    ),
    (
      "every request belongs to an open operation",
      """
      SELECT format('request %s (%s) of VM %s', r.id, r.kind, r.vm_id) FROM vm_requests r
       WHERE NOT EXISTS (
         SELECT 1 FROM operations o WHERE o.resource_id = r.vm_id AND o.vm_request = r.id AND o.finished_at IS NULL)
      """
    ),
    (
      "a deleted VM has an operation or is looked after",
      """
      SELECT format('VM %s', v.id) FROM vms v
       WHERE v.deleted_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM claims c WHERE c.vm_id = v.id)
         AND NOT EXISTS (SELECT 1 FROM work w WHERE w.kind = 'vm' AND w.id = v.id)
      """
    ),
    (
      "what is to be sent to a webhook is looked after",
      """
      SELECT format('webhook %s: %s deliveries', w.id, count(*))
        FROM webhooks w JOIN webhook_deliveries d ON d.webhook_id = w.id AND d.state = 'pending'
       WHERE w.enabled AND NOT EXISTS (SELECT 1 FROM work k WHERE k.kind = 'webhook' AND k.id = w.id)
       GROUP BY w.id
      """
    ),
    (
      "what is stored of an image is its content, or what has come of it",
      """
      SELECT format('image %s: %s bytes stored, size %s, upload %s', i.id, i.stored_bytes, i.size_bytes, u.durable_bytes)
        FROM images i LEFT JOIN image_uploads u ON u.image_id = i.id
       WHERE i.stored_bytes <> coalesce(i.size_bytes, u.durable_bytes, 0) OR (i.upload IS NOT NULL AND u.image_id IS NOT NULL)
      """
    ),
    (
      "a fetch has its operation",
      """
      SELECT format('image %s', f.image_id) FROM image_fetches f
       WHERE NOT EXISTS (SELECT 1 FROM operations o WHERE o.resource_id = f.image_id AND o.kind = 'image.fetch'
                                                      AND o.finished_at IS NULL)
      """
    ),
    (
      "an image that is made of a volume has its operation, or is cleared away",
      """
      SELECT format('image %s', c.image_id) FROM image_captures c
       WHERE CASE WHEN c.ended_at IS NULL
                  THEN NOT EXISTS (SELECT 1 FROM operations o WHERE o.resource_id = c.image_id AND o.kind = 'image.capture'
                                                                AND o.finished_at IS NULL)
                  ELSE NOT EXISTS (SELECT 1 FROM work w WHERE w.kind = 'image' AND w.id = c.image_id) END
      """
    ),
    (
      "no reconciler keeps failing",
      "SELECT format('%s %s: %s', kind, id, last_error) FROM work WHERE last_error IS NOT NULL AND attempts > 5"
    ),
    (
      "nothing is left behind on a node, and nothing is missing in a pool that nodes share",
      "SELECT format('node %s: %s', n.name, o.what) FROM nodes n CROSS JOIN LATERAL unnest(n.orphans) o (what)"
    ),
    (
      "every lease belongs to a node",
      "SELECT format('node %s', node_id) FROM node_leases l WHERE NOT EXISTS (SELECT 1 FROM nodes n WHERE n.id = l.node_id)"
    ),
    (
      "no stream request is left over",
      "SELECT format('stream %s', id) FROM stream_requests WHERE created_at < aloft_now() - interval '5 minutes'"
    ),
  ]

  /// What the database alone says, as the session sees it.
  static func findings(in session: Session) throws -> [Finding] {
    try (rules + MemoryRules.rules + NetworkRules.rules + RoutingRules.rules).flatMap { rule, sql in
      try session.query(sql).map { Finding(rule: rule, detail: try $0.get(0)) }
    }
  }

  /// Everything in one snapshot, so that changes meanwhile look like nothing.
  public func findings() async throws -> [Finding] {
    var (findings, sizes) = try await database.transaction(.snapshot) { session in
      let findings = try Self.findings(in: session)
      let sizes = try session.query("SELECT upload, size_bytes FROM images WHERE upload IS NOT NULL").map {
        (try $0.get(0, as: UUID.self), try $0.get(1, as: Int.self))
      }
      return (findings, Dictionary(sizes, uniquingKeysWith: { $1 }))
    }
    findings += try await NetworkCheck(database: database, logger: logger).findings(networking)
    guard let images else { return findings }
    let contents = try await images.list()
    for (id, size) in sizes {
      guard let found = contents[id] else {
        findings.append(Finding(rule: "every image has its content", detail: "object \(id) is missing"))
        continue
      }
      if found != size {
        findings.append(
          Finding(rule: "every content is as long as it was", detail: "object \(id): \(found) bytes, not \(size)"))
      }
    }
    for id in contents.keys where sizes[id] == nil {
      // It may have come in since the snapshot.
      let isNeeded = try await database.run { session in try ImageStore.needs(id, in: session) }
      if isNeeded { continue }
      findings.append(Finding(rule: "every content belongs to an image", detail: "object \(id) is nobody's"))
    }
    return try await findings + BackupCheck(database: database, images: images).findings()
  }
}
