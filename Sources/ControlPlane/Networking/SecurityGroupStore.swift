import AloftModel
import Foundation
import Postgres

/// The rules of security groups, and what refers to a group.
enum SecurityGroupStore {
  /// A node keeps a flow for each rule of each NIC.
  static let mostRules = 256

  /// Writes rules of a group that is locked. A rule may refer to the group itself, `name`.
  static func insert(
    _ rules: [(id: SecurityGroupRuleID, plan: SecurityRulePlan, pointer: String)], into group: SecurityGroupID,
    named name: String, _ call: Call, in session: Session
  ) throws {
    for rule in rules {
      var block: String?
      var remote: SecurityGroupID?
      switch rule.plan.remote {
      case .anybody: break
      case .block(let wanted): block = wanted.description
      case .group(name): remote = group
      case .group(let reference):
        remote =
          try ResourceStore<SecurityGroupRecord>.require(
            reference, call, at: rule.pointer + "/remote", in: session
          ).id
      }
      let plan = rule.plan
      try session.execute(
        """
        INSERT INTO security_group_rules (id, group_id, direction, ip_version, protocol, first_port, last_port, icmp_type,
                                          icmp_code, remote_cidr, remote_group_id)
        VALUES (\(rule.id), \(group), \(plan.direction), \(plan.ipVersion), \(plan.protocol), \(plan.ports?.lowerBound),
                \(plan.ports?.upperBound), \(plan.icmpType), \(plan.icmpCode), \(block)::cidr, \(remote))
        """
      ) { error in
        if error.isUniqueViolation("security_group_rules_same") {
          return Problem.field(.duplicateItem, rule.pointer, "the group has this rule already")
        }
        if error.isForeignKeyViolation("security_group_rules_remote_group_id_fkey") {
          return Problem.field(.notFound, rule.pointer + "/remote", "the group was deleted a moment ago")
        }
        return nil
      }
    }
  }

  /// Refuses to delete a group that is somebody's, certain while it is locked.
  static func refuseDeletion(of group: SecurityGroupRecord, in session: Session) throws {
    if group.isDefault {
      throw Problem(.inUse, "\(group.name) is the project's default group, which stays; its rules can be changed")
    }
    let machines = try session.someNames(
      """
      SELECT DISTINCT v.name FROM nic_security_groups g JOIN nics n ON n.id = g.nic_id JOIN vms v ON v.id = n.vm_id
       WHERE g.group_id = \(group.id) ORDER BY 1
      """)
    if let machines {
      throw Problem(
        .inUse, "security group \(group.name) is that of NICs of \(machines); give those NICs other groups first")
    }
    let groups = try session.someNames(
      """
      SELECT DISTINCT g.name FROM security_group_rules s JOIN security_groups g ON g.id = s.group_id
       WHERE s.remote_group_id = \(group.id) AND s.group_id <> \(group.id) ORDER BY 1
      """)
    if let groups {
      throw Problem(
        .inUse, "rules of \(groups) refer to security group \(group.name); remove those rules first")
    }
  }

  /// Deletes all groups of a project that is being emptied, but for its default group, which goes with it.
  static func deleteAll(of project: ProjectID, in session: Session) throws {
    // Of groups that refer to each other none could be the first.
    try session.execute(
      "DELETE FROM security_group_rules WHERE group_id IN (SELECT id FROM security_groups WHERE project_id = \(project))"
    )
    try ResourceStore<SecurityGroupRecord>.deleteAll(of: project, where: " AND NOT r.is_default", in: session)
  }
}
