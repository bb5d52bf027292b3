import AloftModel
import FoundationEssentials
import OVSDB

/// One operation on Open vSwitch's database. (Foundation has another `Operation`.)
typealias SwitchChange = OVSDB.Operation

/// Open vSwitch on this node, as its database tells it (ovs-vswitchd.conf.db(5)): as much as the agent decides by.
struct LocalSwitch: Sendable, Equatable {
  struct Bridge: Sendable, Equatable {
    var id: UUID
    var datapathType: String
    var ports: Set<UUID>
  }

  /// A port of one interface.
  struct Port: Sendable, Equatable {
    var id: UUID
    var bridge: UUID
    var externalIDs: [String: String]
    var error: String?

    /// The logical port that it is to be, in OVN.
    var logicalPort: String? { externalIDs["iface-id"] }
    /// Whether ovn-controller has put all flows of it in place.
    var isInstalled: Bool { externalIDs["ovn-installed"] == "true" }
  }

  struct TLS: Sendable, Equatable {
    var id: UUID
    var key: String
    var certificate: String
    var authorities: String
  }

  var id: UUID
  var externalIDs: [String: String]
  var tls: TLS?
  var bridges: [String: Bridge] = [:]
  /// The ports of OVN's own bridge by the names of their interfaces.
  var ports: [String: Port] = [:]

  var integration: Bridge? { bridges[NICSpecification.bridge] }

  /// What has to be monitored for it.
  static let tables = [
    MonitoredTable("Open_vSwitch", columns: ["external_ids", "bridges", "ssl"]),
    MonitoredTable("Bridge", columns: ["name", "datapath_type", "ports"]),
    MonitoredTable("Port", columns: ["name", "interfaces"]),
    MonitoredTable("Interface", columns: ["name", "external_ids", "error"]),
    MonitoredTable("SSL", columns: ["private_key", "certificate", "ca_cert"]),
  ]

  init(id: UUID, externalIDs: [String: String] = [:]) {
    self.id = id
    self.externalIDs = externalIDs
  }

  /// Nil when the database was never initialized.
  init?(rows: (_ table: String) -> [UUID: Row]) {
    guard let (id, root) = rows("Open_vSwitch").first else { return nil }
    self.init(id: id, externalIDs: root["external_ids"]?.stringMap ?? [:])
    if let used = root["ssl"]?.uuid, let row = rows("SSL")[used] {
      tls = TLS(
        id: used, key: row["private_key"]?.string ?? "", certificate: row["certificate"]?.string ?? "",
        authorities: row["ca_cert"]?.string ?? "")
    }
    for (id, row) in rows("Bridge") {
      guard let name = row["name"]?.string else { continue }
      bridges[name] = Bridge(
        id: id, datapathType: row["datapath_type"]?.string ?? "", ports: row["ports"]?.uuids ?? [])
    }
    guard let integration else { return }
    let (portRows, interfaces) = (rows("Port"), rows("Interface"))
    for port in integration.ports {
      guard let used = portRows[port]?["interfaces"]?.uuid, let row = interfaces[used], let name = row["name"]?.string
      else { continue }
      ports[name] = Port(
        id: port, bridge: integration.id, externalIDs: row["external_ids"]?.stringMap ?? [:],
        error: row["error"]?.string)
    }
  }

  /// The ports of guests' NICs, whoever made them.
  var guestPorts: [NICID: (device: String, port: Port)] {
    ports.reduce(into: [:]) { result, entry in
      guard let nic = Self.nic(device: entry.key, entry.value) else { return }
      result[nic] = (entry.key, entry.value)
    }
  }

  /// Which NIC a port is of; nil for those that are not Aloft's.
  static func nic(device: String, _ port: Port) -> NICID? {
    guard let nic = port.logicalPort.flatMap(UUID.init(uuidString:)).map(NICID.init),
      NICSpecification.device(of: nic) == device
    else { return nil }
    return nic
  }

  /// The NICs that can pass packets.
  var installed: Set<NICID> { Set(guestPorts.filter { $0.value.port.isInstalled }.keys) }
}
