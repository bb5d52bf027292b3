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
  private let images: ImageFiles?
  private let networking: NetworkingSettings
  private let logger: Logger

  /// Without `images` the image store is not looked at, without a northbound database OVN is not.
  public init(
    database: Database, images: ImageFiles?, networking: NetworkingSettings = NetworkingSettings(),
    logger: Logger = Logger(label: "aloft.check")
  ) {
    self.database = database
    self.images = images
    self.networking = networking
    self.logger = logger
  }

  /// Each query returns one line of text for each difference.
  private static let rules: [(String, SQL)] = [
    (
      "a node's sums equal its claims",
      """
      SELECT format('node %s: claimed %s vCPUs %s MiB %s GiB, its claims sum to %s %s %s', n.name, n.vcpus_claimed,
                    n.memory_mib_claimed, n.disk_gib_claimed, s.vcpus, s.memory_mib, s.disk_gib)
        FROM nodes n
        CROSS JOIN LATERAL (
          SELECT coalesce(sum(vcpus), 0) AS vcpus, coalesce(sum(memory_mib), 0) AS memory_mib,
                 coalesce(sum(disk_gib), 0) AS disk_gib
            FROM claims c WHERE c.node_id = n.id) s
       WHERE (n.vcpus_claimed, n.memory_mib_claimed, n.disk_gib_claimed) <> (s.vcpus, s.memory_mib, s.disk_gib)
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
       WHERE (c.incarnation, c.vcpus, c.memory_mib, c.disk_gib) <> (v.incarnation, v.vcpus, v.memory_mib, v.disk_gib)
      """
    ),
    (
      "a project's usage equals its VMs",
      """
      SELECT format('project %s, slot %s: %s VMs %s vCPUs %s MiB %s GiB, its VMs sum to %s %s %s %s', u.project_id, u.slot,
                    u.vms, u.vcpus, u.memory_mib, u.disk_gib, s.vms, s.vcpus, s.memory_mib, s.disk_gib)
        FROM project_usage u
        FULL JOIN (
          SELECT project_id, aloft_usage_slot(id) AS slot, count(*) AS vms, sum(vcpus) AS vcpus,
                 sum(memory_mib) AS memory_mib, sum(disk_gib) AS disk_gib
            FROM vms GROUP BY 1, 2) s USING (project_id, slot)
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
      "no two subnets of a network overlap",
      """
      SELECT format('network %s: %s and %s', a.network_id, a.cidr, b.cidr)
        FROM subnets a JOIN subnets b ON b.network_id = a.network_id AND a.id < b.id AND a.cidr && b.cidr
      """
    ),
    (
      "every address is of its subnet",
      """
      SELECT format('%s in subnet %s, which is %s', a.address, s.id, s.cidr)
        FROM addresses a JOIN subnets s ON s.id = a.subnet_id WHERE NOT a.address << s.cidr
      """
    ),
    (
      "a NIC has addresses of its own network only, and at least one",
      """
      SELECT format('NIC %s: %s addresses, %s of another network', n.id, count(a.address),
                    count(*) FILTER (WHERE s.network_id <> n.network_id))
        FROM nics n LEFT JOIN addresses a ON a.nic_id = n.id LEFT JOIN subnets s ON s.id = a.subnet_id
       GROUP BY n.id
      HAVING count(a.address) = 0 OR count(*) FILTER (WHERE s.network_id <> n.network_id) > 0
      """
    ),
    (
      "a NIC that was deleted is looked after",
      """
      SELECT format('NIC %s of VM %s', n.id, n.vm_id) FROM nics n
       WHERE n.deleted_at < aloft_now() - interval '15 minutes'
         AND NOT EXISTS (SELECT 1 FROM work w WHERE w.kind = 'vm' AND w.id = n.vm_id)
      """
    ),
    (
      "no reconciler keeps failing",
      "SELECT format('%s %s: %s', kind, id, last_error) FROM work WHERE last_error IS NOT NULL AND attempts > 5"
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

  /// Everything in one snapshot, so that changes meanwhile look like nothing.
  public func findings() async throws -> [Finding] {
    var (findings, uploads) = try await database.transaction(.snapshot) { session in
      var findings: [Finding] = []
      for (rule, sql) in Self.rules {
        for row in try session.query(sql) { findings.append(Finding(rule: rule, detail: try row.get(0))) }
      }
      let uploads = try session.query("SELECT upload FROM images WHERE upload IS NOT NULL").map {
        try $0.get(0, as: UUID.self)
      }
      return (findings, Set(uploads))
    }
    findings += try await NetworkCheck(database: database, logger: logger).findings(networking)
    guard let images else { return findings }
    let files = Set(try await images.list())
    for id in uploads.subtracting(files) {
      findings.append(Finding(rule: "every image has its content", detail: "file \(id) is missing"))
    }
    for id in files.subtracting(uploads) where try await !isNamed(id) {
      findings.append(Finding(rule: "every content belongs to an image", detail: "file \(id) is nobody's"))
    }
    return findings
  }

  /// A content may have come in since the snapshot.
  private func isNamed(_ upload: UUID) async throws -> Bool {
    try await database.one("SELECT 1 FROM images WHERE upload = \(upload)") != nil
  }
}
