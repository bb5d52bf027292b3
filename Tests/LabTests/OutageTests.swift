import Foundation
import JSON
import TestSupport
import Testing

extension LabTests {
  /// What tells nodes what to do goes, one after another; what they were told goes on.
  @Suite(.timeLimit(.minutes(5)))
  struct OutageTests {
    /// What is killed, on which nodes or beside the control plane, and by which words nodes tell that they have felt it.
    static let kills: [(part: String, isCentral: Bool, problem: String?)] = [
      ("southbound", true, "southbound"), ("controller", false, "ovn-controller"), ("aloft-agent", false, nil),
    ]

    private var nodes: [String] { ["node1", "node2", "node3"] }

    @Test("traffic through a floating IP and through a router's own address goes on when OVN and agents are killed")
    func traffic() async throws {
      let topology = try await Topology.shared()
      let lab = topology.lab
      let nic = try #require(try await lab.get("/v1/vms/red1")["nics"]?[0]?["id"]?.stringValue)
      try await lab.send(
        "POST", "/v1/security-groups",
        ["name": "pingable", "rules": [["direction": "ingress", "protocol": "icmp"], ["direction": "egress"]]])
      try await lab.send("PATCH", "/v1/nics/\(nic)", ["security_groups": ["default", "pingable"]])
      let made = try await lab.send("POST", "/v1/floating-ips", ["external_network": "outside", "nic": .string(nic)])
      let (address, id) = (try #require(made["address"]?.stringValue), try #require(made["id"]?.stringValue))
      try await eventually("the floating IP answers", within: .seconds(90)) {
        await lab.succeeds("outside", "ping -c 1 -W 1 \(address)")
      }
      try await topology.green1.pings(Topology.world, becomes: true)

      let monitors = try await NorthboundMonitors(lab)
      let inward = try await lab.shell(
        "outside", "ping -n -i 0.2 \(address) >\(lab.folder)/inward 2>&1 </dev/null & echo $!")
      let outward = try await topology.green1.run(
        "ping -i 0.2 \(Topology.world) >/tmp/outward 2>&1 </dev/null & echo $!")
      for kill in Self.kills {
        let joined = try nodes.map { try lab.joins($0) }
        for place in kill.isCentral ? ["control"] : nodes { try await lab.kill9(place, kill.part) }
        if let problem = kill.problem {
          for node in nodes {
            try await eventually("\(node) has felt that \(kill.part) is gone", within: .seconds(60)) {
              let shown = try await lab.get("/v1/nodes/\(node)")["networking"]?["problem"]?.stringValue
              return shown?.contains(problem) == true
            }
          }
        }
        // Until the nodes have nothing to complain of.
        try await lab.lab("start")
        guard kill.problem == nil else { continue }
        try await eventually("new agents have reported", within: .seconds(60)) {
          try zip(nodes, joined).allSatisfy { try lab.joins($0) > $1 }
        }
      }
      // What the last reports may have led to is carried over before this.
      try await lab.send("PATCH", "/v1/nics/\(nic)", ["egress_kbps": 1_000_000])
      try await eventually("all changes are carried over", within: .seconds(60)) {
        try await lab.get("/v1/nics/\(nic)")["state"]?.stringValue == "up"
      }
      // Enough of them for a share to say something, however quickly all came back.
      try await eventually("enough answers have come back", within: .seconds(60)) {
        let inward = try await lab.shell("outside", "cat \(lab.folder)/inward")
        let outward = try await topology.green1.run("cat /tmp/outward")
        return [inward, outward].allSatisfy { $0.split(separator: "\n").count { $0.contains(" bytes from ") } > 20 }
      }
      try await lab.shell("outside", "kill -INT \(inward)")
      try await topology.green1.run("kill -INT \(outward)")
      let ends = [
        try await Self.end { try await lab.shell("outside", "cat \(lab.folder)/inward") },
        try await Self.end { try await topology.green1.run("cat /tmp/outward") },
      ]
      for (sent, received) in ends {
        // A few may be lost: a switch or a guest on a busy machine does not always get its turn in time.
        #expect(sent - received <= max(3, sent / 50), "\(sent) sent, \(received) received")
      }
      #expect(try await monitors.changes() == "", "rows of ways out did not change")

      try await lab.send("DELETE", "/v1/floating-ips/\(id)")
      try await lab.send("PATCH", "/v1/nics/\(nic)", ["security_groups": ["default"], "egress_kbps": nil])
      try await lab.send("DELETE", "/v1/security-groups/pingable")
    }

    /// How many requests and answers `ping` tells of at its end, whichever `ping` it is.
    private static func end(_ output: () async throws -> String) async throws -> (sent: Int, received: Int) {
      try await found("ping ends") {
        let lines = try await output().split(separator: "\n")
        let numbers = lines.first { $0.contains("packets transmitted") }?.split(separator: " ").compactMap { Int($0) }
        guard let numbers, numbers.count >= 2 else { return nil }
        return (numbers[0], numbers[1])
      }
    }
  }
}

extension Lab {
  /// How often agents of a node have begun to take part in networks.
  fileprivate func joins(_ node: String) throws -> Int {
    try String(contentsOfFile: "\(folder)/log/\(node)-agent.log", encoding: .utf8)
      .split(separator: "\n").count { $0.contains("OVN's southbound servers") && !$0.contains("problem") }
  }
}

/// Follows what of OVN's northbound database ways out are made of.
private struct NorthboundMonitors {
  static let tables = [
    ("NAT", "type,external_ip,logical_ip,external_mac"), ("HA_Chassis", "chassis_name,priority"),
    ("HA_Chassis_Group", "name,ha_chassis"), ("Logical_Router_Port", "name,networks,ha_chassis_group"),
    ("Logical_Router_Static_Route", "ip_prefix,nexthop"),
  ]

  private let lab: Lab
  private var pids: [String] = []

  init(_ lab: Lab) async throws {
    self.lab = lab
    for (table, columns) in Self.tables {
      let file = "\(lab.folder)/monitor-\(table)"
      pids.append(
        try await lab.shell(
          "control",
          "ovsdb-client monitor unix:\(lab.folder)/ovn/run/nb.sock OVN_Northbound \(table) \(columns) >\(file) 2>&1 </dev/null & echo $!"
        ).trimmingCharacters(in: .whitespacesAndNewlines))
      try await eventually("rows of \(table) are followed") {
        (try? String(contentsOfFile: file, encoding: .utf8))?.contains("initial") == true
      }
    }
  }

  /// What changed since, as `ovsdb-client` tells it; ends to follow.
  func changes() async throws -> String {
    try await lab.shell("control", "kill \(pids.joined(separator: " "))")
    return try Self.tables.map { table, _ in
      try String(contentsOfFile: "\(lab.folder)/monitor-\(table)", encoding: .utf8).split(separator: "\n")
        .filter { line in ["insert", "delete", "old", "new"].contains { line.contains(" \($0) ") } }
        .joined(separator: "\n")
    }.filter { !$0.isEmpty }.joined(separator: "\n")
  }
}
