import AloftModel
import Foundation
import Postgres

/// The operations on security groups.
struct SecurityGroupHandlers: Sendable {
  let plane: Plane
  private let groups: Resources<SecurityGroupRecord>

  init(plane: Plane) {
    self.plane = plane
    groups = Resources(plane, waking: [.networks])
  }

  func register(in table: inout HandlerTable) {
    table.on("listSecurityGroups") { try await groups.list($0) }
    table.on("getSecurityGroup", groups.get)
    table.on("createSecurityGroup", create)
    table.on("updateSecurityGroup", update)
    table.on("deleteSecurityGroup") { try await groups.delete($0, SecurityGroupStore.refuseDeletion) }
    table.on("createSecurityGroupRule", createRule)
    table.on("deleteSecurityGroupRule", deleteRule)
  }

  private struct CreateBody: Decodable {
    var name: String
    var labels: [String: String]?
    var rules: [SecurityRulePlan.Wish]?
  }

  private struct UpdateBody: Decodable {
    var name: String?
    var labels: [String: String]?
  }

  private func create(_ call: Call) async throws -> Reply {
    let body = try call.decode(CreateBody.self)
    let plans = try SecurityRulePlan.list(body.rules ?? [])
    // In the order in which they are given.
    let ids = plans.map { _ in plane.environment.newUUID() }.sorted()
    let rules = plans.enumerated().map { index, plan in
      (id: SecurityGroupRuleID(ids[index]), plan: plan, pointer: "/rules/\(index)")
    }
    return try await groups.create(call) { id, project, session in
      try session.execute(
        """
        INSERT INTO security_groups (id, project_id, name, labels)
        VALUES (\(id), \(project), \(body.name), \(JSONText((body.labels ?? [:]).jsonText))::jsonb)
        """
      ) { ResourceStore<SecurityGroupRecord>.refusal(of: $0, name: body.name) }
      try SecurityGroupStore.insert(rules, into: id, named: body.name, call, in: session)
    }
  }

  private func update(_ call: Call) async throws -> Reply {
    let body = try call.decode(UpdateBody.self)
    return try await groups.update(call, name: body.name, labels: body.labels)
  }

  private func createRule(_ call: Call) async throws -> Reply {
    let plan = try SecurityRulePlan(try call.decode(SecurityRulePlan.Wish.self))
    let id = SecurityGroupRuleID(plane.environment.newUUID())
    return try await groups.edit(call) { group, session in
      guard group.rules.count < SecurityGroupStore.mostRules else {
        throw Problem(
          .limitReached,
          "a security group has at most \(SecurityGroupStore.mostRules) rules; use blocks, ranges or more groups")
      }
      try SecurityGroupStore.insert([(id, plan, "")], into: group.id, named: group.name, call, in: session)
      return { changed in
        guard let rule = changed.rules.first(where: { $0.id == id.uuid }) else { return .noContent }
        return .json(rule, status: call.isDryRun ? .ok : .created, etag: changed.etag)
      }
    }
  }

  private func deleteRule(_ call: Call) async throws -> Reply {
    let reference = call.string("rule") ?? ""
    return try await groups.edit(call) { group, session in
      let gone = try session.query(
        """
        DELETE FROM security_group_rules WHERE id = \(SecurityGroupRuleID(reference)?.uuid) AND group_id = \(group.id)
        RETURNING id
        """)
      guard !gone.isEmpty else {
        throw Problem(.notFound, "security group \(group.name) has no rule \(reference); GET it to see its rules")
      }
      return nil
    }
  }
}
