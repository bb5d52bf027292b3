import AloftModel
import OVSDB

extension Rendering {
  func add(_ group: NetworkModel.SecurityGroup, to contribution: inout Contribution) {
    let key = Names.portGroup(group.id)
    let name = Names.portGroupName(group.id)
    contribution.add(
      .portGroup, key.id, ["name": .string(name)], externalIDs: [ExternalID.project: group.project.description])
    for rule in group.rules {
      guard let conditions = conditions(rule, of: group.id) else { continue }
      let acl = ACL(
        role: rule.id.description, direction: rule.direction == .ingress ? .toGuest : .fromGuest,
        action: .allowRelated, conditions: conditions)
      contribution.add(
        .acl, rule.id.uuid, in: "acls", of: key, acl.row(portGroup: name),
        externalIDs: [ExternalID.rule: rule.id.description])
    }
  }

  /// Nil when the rule can let nothing through.
  private func conditions(_ rule: NetworkModel.SecurityGroup.Rule, of group: SecurityGroupID) -> [String]? {
    let version = rule.ipVersion == .v4 ? "ip4" : "ip6"
    var conditions = [version]
    switch rule.protocol {
    case .any: break
    case .tcp: conditions += ports("tcp", rule.ports)
    case .udp: conditions += ports("udp", rule.ports)
    case .icmp(let type, let code):
      let name = rule.ipVersion == .v4 ? "icmp4" : "icmp6"
      conditions.append(name)
      if let type { conditions.append("\(name).type == \(type)") }
      if let code { conditions.append("\(name).code == \(code)") }
    }
    let end = "\(version).\(rule.direction == .ingress ? "src" : "dst")"
    switch rule.remote {
    case .any: break
    case .block(let block):
      guard block.isIPv6 == (rule.ipVersion == .v6) else { return nil }
      conditions.append("\(end) == \(block)")
    case .group(let remote):
      // A match that names an address set that does not exist would be refused on the node.
      guard remote == group || model.securityGroups[remote] != nil else { return nil }
      conditions.append("\(end) == $\(Names.portGroupName(remote))_\(version)")
    }
    return conditions
  }

  private func ports(_ name: String, _ range: ClosedRange<UInt16>?) -> [String] {
    guard let range else { return [name] }
    if range.count == 1 { return ["\(name).dst == \(range.lowerBound)"] }
    return ["\(name).dst >= \(range.lowerBound)", "\(name).dst <= \(range.upperBound)"]
  }
}
