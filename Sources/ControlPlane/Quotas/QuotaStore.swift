import AloftModel
import Foundation
import JSON
import Postgres

/// The rows of `quota_defaults` and `project_quotas`, and what projects use.
///
/// Invariants:
/// - Triggers enforce quotas in the transaction that takes something, whoever writes it. What VMs take is counted in
///   `project_usage`; what there is little of is counted when more of it comes, under a lock of the project's.
/// - Whoever changes a limit takes all credit away that the old one had given (`migrations/0036_project_usage.sql`), in the same
///   transaction: from its commit on nothing is taken that the new limit does not allow.
enum QuotaStore {
  /// Locks: `quota_defaults` or the project's row in `project_quotas`, then `project_usage` in the order of its key.
  enum Owner: Sendable {
    case everyProject
    case project(ProjectID)
  }

  static func find(_ owner: Owner, in session: Session) throws -> QuotaRecord {
    let sql: SQL =
      switch owner {
      case .everyProject: "SELECT limits, revision FROM quota_defaults"
      case .project(let id): "SELECT limits, revision FROM project_quotas WHERE project_id = \(id)"
      }
    return try session.one(sql).map { try QuotaRecord($0) } ?? QuotaRecord(limits: "{}", revision: 0)
  }

  /// Locks the limits, whether any have been set or not.
  static func lock(_ owner: Owner, in session: Session) throws -> QuotaRecord {
    switch owner {
    case .everyProject: try session.execute("SELECT 1 FROM quota_defaults FOR NO KEY UPDATE")
    case .project(let id):
      try session.execute(
        """
        INSERT INTO project_quotas (project_id, limits, revision) VALUES (\(id), '{}', 0)
        ON CONFLICT (project_id) DO UPDATE SET revision = project_quotas.revision
        """
      ) { error in error.isForeignKeyViolation() ? ProjectStore.absent(id.description) : nil }
    }
    return try find(owner, in: session)
  }

  /// Sets all limits of an owner that is locked.
  static func set(_ owner: Owner, to limits: String, in session: Session) throws {
    let limits = JSONText(limits)
    switch owner {
    case .everyProject:
      try session.execute("UPDATE quota_defaults SET limits = \(limits)::jsonb, revision = revision + 1")
    case .project(let id):
      try session.execute(
        "UPDATE project_quotas SET limits = \(limits)::jsonb, revision = revision + 1 WHERE project_id = \(id)")
    }
    try takeCreditAway(owner, in: session)
  }

  /// Whatever comes next into these projects asks what they may have.
  static func takeCreditAway(_ owner: Owner, in session: Session) throws {
    let scope: SQL =
      switch owner {
      case .everyProject: "true"
      case .project(let id): "project_id = \(id)"
      }
    try session.execute(
      """
      WITH held AS (
        SELECT project_id, slot FROM project_usage WHERE \(fragment: scope) ORDER BY project_id, slot FOR NO KEY UPDATE)
      UPDATE project_usage u SET vms_credit = 0, vcpus_credit = 0, memory_mib_credit = 0, disk_gib_credit = 0
        FROM held WHERE (u.project_id, u.slot) = (held.project_id, held.slot)
      """)
  }

  /// One row for each quota, in the order of ``Quota``. Nothing is used in a project that was deleted just now.
  static func usage(_ project: ProjectID, in session: Session) throws -> [UsageRecord] {
    try session.query(
      """
      SELECT q.name, q.used, aloft_quota_limit(\(project), q.name),
             NOT coalesce((SELECT limits ? q.name FROM project_quotas WHERE project_id = \(project)), false)
        FROM (SELECT coalesce(sum(vms), 0)::bigint AS vms, coalesce(sum(vcpus), 0)::bigint AS vcpus,
                     coalesce(sum(memory_mib), 0)::bigint AS memory_mib, coalesce(sum(disk_gib), 0)::bigint AS disk_gib
                FROM project_usage WHERE project_id = \(project)) u,
             (SELECT count(*) AS images, coalesce(sum(stored_bytes), 0)::bigint AS bytes
                FROM images WHERE project_id = \(project)) i,
             (SELECT count(*) AS tokens FROM api_tokens WHERE project_id = \(project)) t,
             LATERAL (VALUES ('vms', u.vms), ('vcpus', u.vcpus), ('memory_mib', u.memory_mib), ('disk_gib', u.disk_gib),
                             ('volumes', (SELECT count(*) FROM volumes WHERE project_id = \(project))),
                             ('snapshots', (SELECT count(*) FROM snapshots WHERE project_id = \(project))),
                             ('backups', (SELECT count(*) FROM backups
                                           WHERE project_id = \(project) AND deleted_at IS NULL)),
                             ('backup_bytes', (SELECT coalesce(sum(stored_bytes), 0)::bigint FROM backups
                                                WHERE project_id = \(project))),
                             ('images', i.images), ('image_bytes', i.bytes), ('tokens', t.tokens),
                             ('webhooks', (SELECT count(*) FROM webhooks WHERE project_id = \(project))),
                             ('networks', (SELECT count(*) FROM networks WHERE project_id = \(project))),
                             ('subnets', (SELECT count(*) FROM subnets WHERE project_id = \(project))),
                             ('security_groups', (SELECT count(*) FROM security_groups
                                                   WHERE project_id = \(project) AND NOT is_default)),
                             ('routers', (SELECT count(*) FROM routers WHERE project_id = \(project))),
                             ('floating_ips', (SELECT count(*) FROM floating_ips WHERE project_id = \(project))),
                             ('load_balancers', (SELECT count(*) FROM load_balancers WHERE project_id = \(project)))
                     ) q (name, used)
      """
    ).map { try UsageRecord($0) }
  }

  /// What the project has of one quota now.
  static func usage(_ quota: Quota, of project: ProjectID, in session: Session) throws -> UsageRecord? {
    try usage(project, in: session).first { $0.quota == quota }
  }
}
