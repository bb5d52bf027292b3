import JSON

extension Presentation.Column {
  /// The members of this name of what a list holds.
  fileprivate static func each(_ title: String, _ list: String, _ name: String) -> Self {
    Self(title) { item, _ in
      let texts = (item[list]?.arrayValue ?? []).map { Presentation.plain($0[name]) }
      return Table.Cell(texts.isEmpty ? "-" : texts.joined(separator: ", "))
    }
  }

  /// How many a list holds.
  fileprivate static func count(_ title: String, _ list: String) -> Self {
    Self(title) { item, _ in Table.Cell("\(item[list]?.arrayValue?.count ?? 0)") }
  }
}

extension Presentation {
  static let network = Presentation(
    columns: [
      .member("NAME", "name"), .each("SUBNETS", "subnets", "cidr"), .member("MTU", "mtu"),
      .member("DOMAIN", "dns_domain"), .member("ID", "id"), .age("AGE", "created_at"),
    ], nameMember: "name")

  static let subnet = Presentation(
    columns: [
      .member("NAME", "name"), .member("CIDR", "cidr"), .member("GATEWAY", "gateway"),
      .member("CONFIGURATION", "configuration"), .member("USED", "addresses_used"), .member("NETWORK", "network_id"),
      .age("AGE", "created_at"),
    ], nameMember: "name")

  static let externalNetwork = Presentation(
    columns: [
      .member("NAME", "name"), .each("SUBNETS", "subnets", "cidr"), .member("PHYSICAL-NETWORK", "physical_network"),
      .member("VLAN", "vlan"), .member("MTU", "mtu"), .age("AGE", "created_at"),
    ], nameMember: "name")

  static let routedBlock = Presentation(
    columns: [.member("CIDR", "cidr"), .member("PROJECT", "project_id")], nameMember: "cidr")

  static let externalSubnet = Presentation(
    columns: [
      .member("NAME", "name"), .member("CIDR", "cidr"), .member("GATEWAY", "gateway"), .member("POOLS", "pools"),
      .member("USED", "addresses_used"), .age("AGE", "created_at"),
    ], nameMember: "name")

  static let securityGroup = Presentation(
    columns: [
      .member("NAME", "name"), .count("RULES", "rules"), .member("DEFAULT", "is_default"), .member("ID", "id"),
      .age("AGE", "created_at"),
    ], nameMember: "name")

  static let securityGroupRule = Presentation(
    columns: [
      .member("ID", "id"), .member("DIRECTION", "direction"), .member("IP", "ip_version"),
      .member("PROTOCOL", "protocol"), .member("FIRST", "first_port"), .member("LAST", "last_port"),
      .member("ICMP", "icmp_type"),
      Column("REMOTE") { item, _ in
        let block = item["remote_cidr"] ?? .null
        return Table.Cell(plain(block.isNull ? item["remote_group_id"] : block))
      },
    ], nameMember: "id")

  static let router = Presentation(
    columns: [
      .member("NAME", "name"), .each("SUBNETS", "interfaces", "cidr"), .member("OUTSIDE", "external_addresses"),
      .member("SNAT", "snat"), .member("ID", "id"), .age("AGE", "created_at"),
    ], nameMember: "name")

  static let floatingIP = Presentation(
    columns: [
      .member("ADDRESS", "address"), .member("FIXED", "fixed_address"), .member("NIC", "nic_id"),
      .member("VM", "vm_id"), .member("ID", "id"), .age("AGE", "created_at"),
    ], nameMember: "id")

  static let loadBalancer = Presentation(
    columns: [
      .member("NAME", "name"), .member("ADDRESS", "address"), .each("PORTS", "listeners", "port"),
      .member("ID", "id"), .age("AGE", "created_at"),
    ], nameMember: "name")

  static let networkPeering = Presentation(
    columns: [
      .member("NAME", "name"), .member("NETWORK", "network_id"), .member("PEER", "peer_network_id"),
      .member("ID", "id"), .age("AGE", "created_at"),
    ], nameMember: "name")

  static let topology = Presentation(
    columns: [
      .member("KIND", "kind"),
      Column("NAME") { item, _ in Table.Cell(plain(item["name"] ?? item["vm_name"])) },
      Column("ADDRESS") { item, _ in
        Table.Cell(plain(item["address"] ?? item["addresses"] ?? item["cidr"] ?? item["external_addresses"]))
      },
      .member("ID", "id"),
    ], nameMember: "id")
}
