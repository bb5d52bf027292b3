import Foundation
import OVSDB

/// The tables of OVN's northbound database that have rows of ours (ovn-nb(5)), in the order in which they are written: those that
/// others refer to first, and what is not let through before what could come.
enum Table: String, Sendable, Hashable, CaseIterable, Comparable {
  case dhcpOptions = "DHCP_Options"
  case dns = "DNS"
  case loadBalancer = "Load_Balancer"
  case haChassisGroup = "HA_Chassis_Group"
  case portGroup = "Port_Group"
  case logicalSwitch = "Logical_Switch"
  case logicalRouter = "Logical_Router"
  case logicalSwitchPort = "Logical_Switch_Port"
  case logicalRouterPort = "Logical_Router_Port"
  case haChassis = "HA_Chassis"
  case nat = "NAT"
  case staticRoute = "Logical_Router_Static_Route"
  case policy = "Logical_Router_Policy"
  case acl = "ACL"
  case qos = "QoS"
  case healthCheck = "Load_Balancer_Health_Check"

  static func < (left: Table, right: Table) -> Bool { left.position < right.position }

  private static let positions = Dictionary(uniqueKeysWithValues: zip(allCases, 0...))
  private var position: Int { Self.positions[self] ?? 0 }

  /// Whether rows live by themselves. The others live as long as some row refers to them, and cannot be deleted.
  var isRoot: Bool { self < .logicalSwitchPort }
}

/// A column that has what Aloft wants, and nothing else.
struct Column: Sendable, Hashable {
  enum Kind: Sendable, Hashable {
    /// Written as a whole: one value or none, or few. Some must never be empty.
    case value
    /// Of which only the difference is written.
    case set
    /// A set of rows that live by being in it.
    case children(Table)
    /// A set of rows that live elsewhere, in a row that is written before.
    case borrowed
    case map
    /// A map of which the entries that begin with `aloft-` are ours.
    case sharedMap
  }

  let name: String
  let kind: Kind
  /// What the server gives a new row.
  let initial: Value

  private init(_ name: String, _ kind: Kind, _ initial: Value) {
    self.name = name
    self.kind = kind
    self.initial = initial
  }

  static func string(_ name: String) -> Column { Column(name, .value, "") }
  static func integer(_ name: String) -> Column { Column(name, .value, 0) }
  static func optional(_ name: String) -> Column { Column(name, .value, .empty) }
  static func set(_ name: String) -> Column { Column(name, .set, .empty) }
  static func children(_ name: String, _ table: Table) -> Column { Column(name, .children(table), .empty) }
  static func borrowed(_ name: String) -> Column { Column(name, .borrowed, .empty) }
  static func map(_ name: String) -> Column { Column(name, .map, .map([Atom: Atom]())) }
  static let externalIDs = Column("external_ids", .sharedMap, .map([Atom: Atom]()))

  /// Whether its elements may come only when those of other columns are there.
  var waitsForOthers: Bool {
    switch kind {
    case .children, .borrowed: true
    case .value, .set, .map, .sharedMap: false
    }
  }
}

extension Table {
  /// The columns that are ours. What others do with the rest is their business: logging of an ACL, say.
  var columns: [Column] { Self.columns[self] ?? [] }

  private static let columns: [Table: [Column]] = [
    .dhcpOptions: [.string("cidr"), .map("options"), .externalIDs],
    .dns: [.map("records"), .externalIDs],
    .loadBalancer: [
      .string("name"), .optional("protocol"), .map("vips"), .children("health_check", .healthCheck),
      .map("ip_port_mappings"),
      .map("options"), .externalIDs,
    ],
    .haChassisGroup: [.string("name"), .children("ha_chassis", .haChassis), .externalIDs],
    .logicalSwitch: [
      .string("name"), .children("ports", .logicalSwitchPort), .children("qos_rules", .qos), .set("load_balancer"),
      .set("dns_records"),
      .externalIDs,
    ],
    .logicalRouter: [
      .string("name"), .children("ports", .logicalRouterPort), .children("nat", .nat),
      .children("static_routes", .staticRoute), .children("policies", .policy), .set("load_balancer"),
      .map("options"), .externalIDs,
    ],
    .portGroup: [.string("name"), .borrowed("ports"), .children("acls", .acl), .externalIDs],
    .logicalSwitchPort: [
      .string("name"), .string("type"), .optional("addresses"), .optional("port_security"), .optional("dhcpv4_options"),
      .optional("dhcpv6_options"), .map("options"), .optional("tag"), .optional("enabled"), .externalIDs,
    ],
    .logicalRouterPort: [
      .string("name"), .string("mac"), .optional("networks"), .optional("peer"), .optional("ha_chassis_group"),
      .map("ipv6_ra_configs"), .map("options"), .optional("enabled"), .externalIDs,
    ],
    .haChassis: [.string("chassis_name"), .integer("priority"), .externalIDs],
    .nat: [
      .string("type"), .string("external_ip"), .string("logical_ip"), .optional("logical_port"),
      .optional("external_mac"), .externalIDs,
    ],
    .staticRoute: [.string("ip_prefix"), .string("nexthop"), .optional("output_port"), .externalIDs],
    .policy: [.integer("priority"), .string("match"), .string("action"), .externalIDs],
    .acl: [.string("direction"), .integer("priority"), .string("match"), .string("action"), .externalIDs],
    .qos: [.string("direction"), .integer("priority"), .string("match"), .map("bandwidth"), .externalIDs],
    .healthCheck: [.string("vip"), .map("options"), .externalIDs],
  ]
}

/// Which row.
struct RowKey: Sendable, Hashable {
  let table: Table
  let id: UUID
}

extension RowKey: Comparable {
  static func < (left: RowKey, right: RowKey) -> Bool {
    left.table == right.table ? left.id.uuidString < right.id.uuidString : left.table < right.table
  }
}

/// The keys of `external_ids` that are ours.
enum ExternalID {
  /// What all of them begin with.
  static let prefix = "aloft-"
  /// The id of the object that the row was made for.
  static let owner = "aloft-owner"
  static let project = "aloft-project"
  static let name = "aloft-name"
  /// Of a NIC's port.
  static let vm = "aloft-vm"
  /// Of an ACL.
  static let rule = "aloft-rule"
}

extension Row {
  /// The id of the object that the row was made for; nil for other people's rows.
  var owner: String? {
    guard case .map(let entries)? = self["external_ids"], case .string(let owner)? = entries[.string(ExternalID.owner)]
    else { return nil }
    return owner
  }
}
