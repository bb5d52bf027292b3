import OVSDB

/// A row of the table ACL: a match that is written from typed values, for the ports of a port group.
struct ACL {
  /// Where a rule is looked at: with a guest's packets as they leave it, or as they reach it.
  enum Direction: String {
    case fromGuest = "from-lport"
    case toGuest = "to-lport"
  }

  enum Action: String {
    case drop
    case allowRelated = "allow-related"
  }

  /// What a security group's rule lets through, and what is let through in any case, stand above what is dropped.
  static let dropPriority: Int64 = 1000
  static let allowPriority: Int64 = 1001

  /// Which of a port group's rules this is.
  var role: String
  var direction: Direction
  var action: Action
  /// What must be true beside that the port is in the group.
  var conditions: [String]

  func row(portGroup: String) -> Row {
    let port = direction == .fromGuest ? "inport" : "outport"
    return [
      "direction": .string(direction.rawValue),
      "priority": .integer(action == .drop ? Self.dropPriority : Self.allowPriority),
      "match": .string((["\(port) == @\(portGroup)"] + conditions).joined(separator: " && ")),
      "action": .string(action.rawValue),
    ]
  }

  /// Everything is dropped but what a guest cannot do without: neighbour and router discovery (OVN lets them through by itself
  /// only on switches with connection tracking), DHCP, and the metadata service. ARP is no IP, so nothing is said of it; answers
  /// of OVN's own DHCP pass by themselves.
  static let guards: [ACL] = [
    ACL(role: "drop-out", direction: .fromGuest, action: .drop, conditions: ["ip"]),
    ACL(role: "drop-in", direction: .toGuest, action: .drop, conditions: ["ip"]),
    ACL(role: "discovery-out", direction: .fromGuest, action: .allowRelated, conditions: ["(nd || nd_rs)"]),
    ACL(role: "discovery-in", direction: .toGuest, action: .allowRelated, conditions: ["(nd || nd_ra)"]),
    ACL(
      role: "dhcp-out", direction: .fromGuest, action: .allowRelated,
      conditions: ["ip4", "udp.src == 68", "udp.dst == 67"]),
    ACL(
      role: "dhcpv6-out", direction: .fromGuest, action: .allowRelated,
      conditions: ["ip6", "udp.src == 546", "udp.dst == 547"]),
    ACL(
      role: "metadata-out", direction: .fromGuest, action: .allowRelated,
      conditions: ["ip4.dst == \(MetadataAddress.v4)", "tcp.dst == 80"]),
    ACL(
      role: "metadata-v6-out", direction: .fromGuest, action: .allowRelated,
      conditions: ["ip6.dst == \(MetadataAddress.v6)", "tcp.dst == 80"]),
  ]
}
