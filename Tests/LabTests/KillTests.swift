import Foundation
import JSON
import LibvirtTestSupport
import TestSupport
import Testing

extension LabTests {
  /// kill -9 of each part while VMs with NICs come and go: what is asked for happens in the end, and nothing is left over.
  @Suite(.timeLimit(.minutes(40)))
  struct KillTests {
    /// What is killed, in places of the lab.
    static let parts: [(place: String, part: String)] = [
      ("control", "aloftd-1"), ("control", "northd"), ("control", "aloftd-2"), ("control", "northbound"),
      ("node1", "controller"), ("control", "southbound"), ("node2", "vswitchd"), ("node1", "database"),
      ("node2", "aloft-agent"), ("node1", "libvirtd"),
    ]

    /// Three creates and deletes in each round, and one kill; ALOFT_KILL_ROUNDS asks for more than one of each part.
    static let rounds = ProcessInfo.processInfo.environment["ALOFT_KILL_ROUNDS"].flatMap { Int($0) } ?? parts.count

    @Test("whatever is killed during creates and deletes, in the end no row, port, tap or address is left")
    func campaign() async throws {
      let lab = try await Lab.start(nodes: 2)
      try await lab.send("POST", "/v1/networks", ["name": "churn"])
      try await lab.send("POST", "/v1/subnets", ["name": "churn", "network": "churn", "cidr": "10.0.0.0/24"])
      for round in 0..<Self.rounds {
        let victim = Self.parts[round % Self.parts.count]
        async let created: Void = create(round, in: lab)
        try await lab.kill9(victim.place, victim.part)
        try await created
        if round > 0 { try await delete(round - 1, in: lab) }
        try await lab.lab("start")
      }
      try await delete(Self.rounds - 1, in: lab)

      try await vanishes("VMs", within: .seconds(120)) {
        let vms = try await lab.get("/v1/vms")["items"]?.arrayValue
        return vms.map { $0.map(\.description).joined(separator: "\n") }
      }
      #expect(try await lab.get("/v1/subnets/churn")["addresses_used"]?.integerValue == 0)
      try await eventually("northbound has no port but the metadata's", within: .seconds(60)) {
        try await lab.shell("control", "ovn-nbctl --bare --columns=type find Logical_Switch_Port | sort -u")
          .trimmingCharacters(in: .whitespacesAndNewlines) == "localport"
      }
      for node in ["node1", "node2"] {
        try await eventually("\(node) has neither taps nor ports of guests", within: .seconds(60)) {
          let devices = try await lab.shell(node, "ip -br link")
          let ports = try await lab.shell(node, "ovs-vsctl --bare --columns=external_ids list Interface")
          // A guest's tap is av…, the metadata service's device of a network with guests am….
          let names = devices.split(separator: "\n").compactMap {
            $0.split(whereSeparator: { " @".contains($0) }).first
          }
          return !names.contains { $0.hasPrefix("av") || $0.hasPrefix("am") } && !ports.contains("attached-mac")
        }
      }
      try await vanishes("differences between PostgreSQL, the image store and OVN", within: .seconds(60)) {
        try await lab.differences()
      }
      // It still works.
      try await lab.create("after", on: "node1", nics: [Topology.nic("churn", "10.0.0.5")])
      try await lab.stop()
    }

    /// Waits until a text is empty; throws with what is left.
    private func vanishes(_ what: String, within limit: Duration, _ look: () async throws -> String?) async throws {
      var left: String?
      do {
        try await eventually("\(what) are gone", within: limit) {
          left = try await look()
          return left == ""
        }
      } catch let failure as NeverHappened {
        throw CommandFailure(command: failure.description, status: 1, output: left ?? "")
      }
    }

    /// Three VMs; whoever is down does not answer, and the other replica is asked.
    private func create(_ round: Int, in lab: Lab) async throws {
      for number in 0..<3 {
        let body: JSONValue = [
          "name": .string("vm-\(round)-\(number)"), "image": "tiny", "memory_mib": 128,
          "nics": [["network": "churn"]],
        ]
        try await steadily { try await lab.send("POST", "/v1/vms", body, replica: $0) }
      }
    }

    private func delete(_ round: Int, in lab: Lab) async throws {
      for number in 0..<3 {
        try await steadily { try await lab.send("DELETE", "/v1/vms/vm-\(round)-\(number)", replica: $0) }
      }
    }

    /// Asks the replicas in turns until one has done it, or it was done already.
    private func steadily(_ body: (Int) async throws -> JSONValue) async throws {
      var replica = 1
      try await eventually("the change is accepted", within: .seconds(60)) {
        do {
          _ = try await body(replica)
          return true
        } catch let failure as CommandFailure {
          replica = 3 - replica
          return ["name_taken", "not_found"].contains { failure.output.contains($0) }
        }
      }
    }
  }
}

extension Lab {
  /// What `aloftd check` finds; empty when nothing differs.
  func differences() async throws -> String {
    let socket = try await shell(
      "control", "sed -n 's/^.*unix_socket_directories=\\([^ \"]*\\).*/\\1/p' \(folder)/postgres/postmaster.opts"
    )
    .trimmingCharacters(in: .whitespacesAndNewlines)
    do {
      let text = try await run(
        "env", "ALOFT_DATABASE_URL=postgresql:///aloft?host=\(socket)&user=aloft", "\(builtPrograms)/aloftd", "check",
        "--image-store", folder + "/image-store", "--ovn-northbound", "unix:\(folder)/ovn/run/nb.sock")
      return text.contains("no difference") ? "" : text
    } catch let failure as CommandFailure {
      return failure.output
    }
  }
}
