import AloftModel
import Foundation
import IPAddressing
import JSON
import Postgres
import TestSupport
import Testing

@testable import ControlPlane

@Suite("NICs")
struct NICTests {
  /// An image, a node with networks, and network blue with a subnet of each family.
  private static func prepare(_ test: TestPlane, report: NodeReport = FakeAgent.networked()) async throws -> FakeAgent {
    try await test.makeImage()
    let agent = try await FakeAgent.join(test, report: report)
    let network = await test.call(.post, "/v1/networks", ["name": "blue"])
    try #require(network.status == 201, "\(network)")
    for (name, cidr, reserved) in [
      ("blue-v4", "10.0.0.0/24", ["10.0.0.99-10.0.0.110"]), ("blue-v6", "fd00:1::/64", []),
    ] {
      let made = await test.call(
        .post, "/v1/subnets",
        [
          "name": .string(name), "network": "blue", "cidr": .string(cidr),
          "reserved": .array(reserved.map { .string($0) }),
        ])
      try #require(made.status == 201, "\(made)")
    }
    return agent
  }

  private static func addresses(_ nic: JSONValue?) -> [String] {
    nic?["addresses"]?.arrayValue?.compactMap { $0.stringValue ?? $0["address"]?.stringValue } ?? []
  }

  @Test("a VM comes with its NICs: addresses of both families, its document tells them, and they go with it")
  func comesWithVM() async throws {
    try await TestPlane.with { test async throws in
      let agent = try await Self.prepare(test)
      let made = await test.call(.post, "/v1/vms", TestPlane.body("a", ("nics", [["network": "blue"]])))
      #expect(made.status == 202, "\(made)")
      let nic = try #require(made["nics"]?[0])
      let addresses = Self.addresses(nic)
      #expect(addresses.count == 2 && addresses[0].hasPrefix("10.0.0.") && addresses[1].hasPrefix("fd00:1::"))
      // In a subnet of SLAAC the guest takes the address that its MAC address gives.
      let mac = try #require(nic["mac"]?.stringValue.flatMap { MACAddress($0) })
      #expect(mac.autoconfigured(in: try #require(AddressBlock("fd00:1::/64")))?.description == addresses[1])
      let document = try #require(try await agent.poll().first)
      #expect(document.nics?.map(\.addresses) == [["\(addresses[0])/24", "\(addresses[1])/64"]])
      #expect(document.networks?.map(\.metadataAddresses) == [["10.0.0.254/24"]])
      let shown = await test.call(.get, "/v1/nics/\(nic["id"]?.stringValue ?? "")")
      #expect(shown["state"] == "pending" && shown["security_group_ids"]?.arrayValue?.count == 1, "\(shown)")
      #expect(await test.call(.delete, "/v1/networks/blue").code == "in_use")
      #expect(await test.call(.delete, "/v1/subnets/blue-v4").code == "in_use")
      _ = try await agent.see(document, .running)
      try await test.settle()
      _ = await test.call(.delete, "/v1/vms/a")
      try await agent.obey()
      try await test.settle()
      #expect(try await test.count("SELECT count(*) FROM nics") == 0)
      #expect(try await test.count("SELECT count(*) FROM addresses WHERE released_at IS NULL") == 0)
      #expect(await test.call(.delete, "/v1/networks/blue").status == 204)
      #expect(try await test.findings() == [])
    }
  }

  @Test(
    "a VM that asks for what it cannot have on a network is refused, with the place and what would work, and leaves nothing"
  )
  func refusals() async throws {
    try await TestPlane.with { test async throws in
      _ = try await Self.prepare(test)
      _ = await test.call(.post, "/v1/networks", ["name": "bare"])
      let first = await test.call(
        .post, "/v1/vms",
        TestPlane.body("a", ("nics", [["network": "blue", "addresses": ["10.0.0.7"], "mac": "02:00:00:00:00:01"]])))
      #expect(Self.addresses(first["nics"]?[0]).first == "10.0.0.7", "\(first)")
      let before = try await test.rowCounts()
      let cases: [(JSONValue, String, String, String)] = [
        (["network": "green"], "not_found", "/nics/0/network", "green"),
        (["network": "bare"], "wrong_state", "/nics/0/network", "/v1/subnets"),
        (["network": "blue", "addresses": ["10.0.0.7"]], "address_taken", "/nics/0/addresses", "10.0.0.7"),
        (["network": "blue", "addresses": ["10.0.0.1"]], "address_taken", "/nics/0/addresses/0", "gateway"),
        (["network": "blue", "addresses": ["10.0.1.7"]], "out_of_range", "/nics/0/addresses/0", "10.0.0.0/24"),
        (["network": "blue", "addresses": ["10.0.0.255"]], "out_of_range", "/nics/0/addresses/0", "10.0.0.255"),
        (["network": "blue", "addresses": ["ten"]], "bad_format", "/nics/0/addresses/0", "ten"),
        (["network": "blue", "addresses": ["fd00:1::7"]], "out_of_range", "/nics/0/addresses/0", "themselves"),
        (["network": "blue", "subnets": []], "too_short", "/nics/0/subnets", "1"),
        (
          ["network": "blue", "addresses": ["10.0.0.100"]], "out_of_range", "/nics/0/addresses/0",
          "10.0.0.99-10.0.0.110"
        ),
        (["network": "blue", "subnets": ["red"]], "not_found", "/nics/0/subnets/0", "blue-v4"),
        (["network": "blue", "mac": "02:00:00:00:00:01"], "address_taken", "/nics/0/mac", "02:00:00:00:00:01"),
        (["network": "blue", "mac": "01:00:5e:00:00:01"], "bad_format", "/nics/0/mac", "one interface"),
        (["network": "blue", "security_groups": ["web"]], "not_found", "/nics/0/security_groups/0", "web"),
        (
          ["network": "blue", "allowed_pairs": [["cidr": "10.0.0.1/8"]]], "bad_format", "/nics/0/allowed_pairs/0/cidr",
          "10.0.0.1/8"
        ),
      ]
      for (nic, code, place, word) in cases {
        let answer = await test.call(.post, "/v1/vms", TestPlane.body("b", ("nics", [nic])))
        #expect(answer.code == code && answer.place == place, "\(nic): \(answer)")
        #expect(answer["detail"]?.stringValue?.contains(word) == true, "\(answer)")
      }
      #expect(try await test.rowCounts() == before)
      #expect(try await test.findings() == [])
    }
  }

  @Test(
    "a subnet without a free address says which and how many; what was given back rests, and can be asked for by name")
  func exhaustion() async throws {
    try await TestPlane.with { test async throws in
      _ = try await Self.prepare(test)
      _ = await test.call(.post, "/v1/networks", ["name": "small"])
      _ = await test.call(
        .post, "/v1/subnets", ["name": "small-v4", "network": "small", "cidr": "10.1.0.0/29", "gateway": .null])
      // Eight, without network, broadcast and the metadata port.
      for index in 0..<5 {
        let made = await test.call(
          .post, "/v1/vms", TestPlane.body("vm\(index)", ("nics", [["network": "small"]])))
        #expect(made.status == 202, "\(made)")
      }
      let refused = await test.call(.post, "/v1/vms", TestPlane.body("vm5", ("nics", [["network": "small"]])))
      #expect(refused.code == "addresses_exhausted" && refused.place == "/nics/0/network", "\(refused)")
      #expect(refused["detail"]?.stringValue?.contains("small-v4 (10.1.0.0/29) has none left: 5 are in use") == true)
      let address = try await test.database.one("SELECT host(address) FROM addresses LIMIT 1")?.get(0, as: String.self)
      _ = try await test.database.query(
        "DELETE FROM nics WHERE id = (SELECT nic_id FROM addresses WHERE host(address) = \(address))")
      let resting = await test.call(.post, "/v1/vms", TestPlane.body("vm5", ("nics", [["network": "small"]])))
      #expect(resting["detail"]?.stringValue?.contains("1 were given back just now") == true, "\(resting)")
      let named = await test.call(
        .post, "/v1/vms",
        TestPlane.body("vm5", ("nics", [["network": "small", "addresses": [.string(address ?? "")]]])))
      #expect(named.status == 202, "\(named)")
    }
  }

  @Test("a VM with NICs goes only to a node that can connect it, and the refusal says so")
  func placement() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      _ = try await FakeAgent.join(test)
      _ = await test.call(.post, "/v1/networks", ["name": "blue"])
      _ = await test.call(.post, "/v1/subnets", ["name": "blue-v4", "network": "blue", "cidr": "10.0.0.0/24"])
      let refused = await test.call(.post, "/v1/vms", TestPlane.body("a", ("nics", [["network": "blue"]])))
      #expect(refused.code == "no_capacity", "\(refused)")
      #expect(refused["refusal"]?["removed"]?[0]?["constraint"] == "networks", "\(refused)")
      #expect(await test.call(.post, "/v1/vms", TestPlane.body("a")).status == 202)
      let agent = try await FakeAgent.join(test, "node-b", report: FakeAgent.networked())
      let made = await test.call(.post, "/v1/vms", TestPlane.body("b", ("nics", [["network": "blue"]])))
      #expect(made["node"]?.stringValue == agent.name, "\(made)")
    }
  }

  @Test("a NIC is plugged into a running VM and unplugged; its address stays its own until the guest has let go")
  func hotplug() async throws {
    try await TestPlane.with { test async throws in
      let agent = try await Self.prepare(test)
      _ = try await test.createVM("a")
      try await agent.obey()
      try await test.settle()
      let plugged = await test.call(.post, "/v1/nics", ["vm": "a", "network": "blue"])
      #expect(plugged.status == 202 && plugged["operation"]?["kind"] == "vm.attach_nic", "\(plugged)")
      let id = try #require(plugged["id"]?.stringValue)
      let operation = try #require(plugged["operation"]?["id"]?.stringValue.flatMap { OperationID($0) })
      let document = try #require(try await agent.poll().first)
      // The agent has the document, and the guest not yet the NIC.
      _ = try await agent.see(document, .running, nics: [])
      try await test.settle()
      #expect(await test.operation(operation)["status"] != "succeeded")
      _ = try await agent.see(document, .running)
      try await test.settle()
      #expect(await test.operation(operation)["status"] == "succeeded")

      let unplugged = await test.call(.delete, "/v1/nics/\(id)")
      #expect(unplugged.status == 202 && unplugged["operation"]?["kind"] == "vm.detach_nic", "\(unplugged)")
      #expect(await test.call(.get, "/v1/nics/\(id)").status == 404)
      #expect(await test.call(.get, "/v1/vms/a")["nics"] == [])
      let without = try #require(try await agent.poll().first)
      // An agent unplugs what it is told to; silence would be a control plane without networks.
      #expect(without.nics == [] && without.networks == [])
      _ = try await agent.observe(
        Observation(
          vm: without.vm, incarnation: without.incarnation, generation: without.generation,
          sequence: agent.nextSequence(), power: .running))
      try await test.settle()
      #expect(try await test.count("SELECT count(*) FROM nics") == 1, "an agent that does not tell")
      _ = try await agent.see(without, .running, nics: [try #require(NICID(id))])
      try await test.settle()
      #expect(try await test.count("SELECT count(*) FROM addresses WHERE released_at IS NULL") == 2)
      _ = try await agent.see(without, .running, nics: [])
      try await test.settle()
      #expect(try await test.count("SELECT count(*) FROM addresses WHERE released_at IS NULL") == 0)
      #expect(try await test.count("SELECT count(*) FROM nics") == 0)
      #expect(try await test.findings() == [])
    }
  }

  @Test("a NIC is not plugged into a VM whose node cannot connect it, and the refusal says why")
  func unconnected() async throws {
    try await TestPlane.with { test async throws in
      let agent = try await Self.prepare(test, report: FakeAgent.report())
      _ = try await test.createVM("a")
      // What a node has told of its networks counts until it tells something else.
      for problem in [nil, "ovn-controller does not run"] as [String?] {
        var report = FakeAgent.report()
        if let problem {
          report = FakeAgent.networked()
          report.networking?.problem = problem
        }
        #expect(try await agent.send(report: report).status == 200)
        let refused = await test.call(.post, "/v1/nics", ["vm": "a", "network": "blue"])
        #expect(refused.code == "wrong_state" && refused.place == "/vm", "\(refused)")
        #expect(refused["detail"]?.stringValue?.contains(problem ?? "knows nothing of networks") == true, "\(refused)")
      }
      #expect(try await test.count("SELECT count(*) FROM nics") == 0)
      #expect(try await agent.send(report: FakeAgent.networked()).status == 200)
      #expect(await test.call(.post, "/v1/nics", ["vm": "a", "network": "blue"]).status == 202)
    }
  }

  @Test("no NIC and no pair has the MAC address of the router or of the metadata service")
  func ownedMACs() async throws {
    try await TestPlane.with { test async throws in
      _ = try await Self.prepare(test)
      try await test.make("routers", ["name": "gate"])
      let attached = await test.call(.put, "/v1/routers/gate/interfaces/blue-v4")
      let router = try #require(attached["interfaces"]?[0]?["mac"]?.stringValue)
      let network = try #require(await test.call(.get, "/v1/networks/blue")["id"]?.stringValue)
      let metadata = try #require(NetworkID(network)?.metadataMAC)
      let made = await test.call(.post, "/v1/vms", TestPlane.body("a", ("nics", [["network": "blue"]])))
      let nic = try #require(made["nics"]?[0]?["id"]?.stringValue)
      for (mac, owner) in [(router, "router gate"), (metadata, "the metadata service")] {
        let pairs: JSONValue = [["cidr": "10.0.0.9/32", "mac": .string(mac)]]
        let answers = [
          await test.call(
            .post, "/v1/vms", TestPlane.body("b", ("nics", [["network": "blue", "mac": .string(mac)]]))),
          await test.call(
            .post, "/v1/vms", TestPlane.body("b", ("nics", [["network": "blue", "allowed_pairs": pairs]]))),
          await test.call(.patch, "/v1/nics/\(nic)", ["allowed_pairs": pairs]),
        ]
        for answer in answers {
          #expect(answer.code == "address_taken" && answer.place?.hasSuffix("/mac") == true, "\(answer)")
          #expect(answer["detail"]?.stringValue?.contains(owner) == true, "\(answer)")
        }
      }
      for mac in ["01:00:5e:00:00:01", "00:00:00:00:00:00"] {
        let answer = await test.call(
          .patch, "/v1/nics/\(nic)", ["allowed_pairs": [["cidr": "10.0.0.9/32", "mac": .string(mac)]]])
        #expect(answer.code == "bad_format" && answer.place == "/allowed_pairs/0/mac", "\(answer)")
      }
    }
  }

  @Test("a change of a NIC needs no guest: groups, pairs and limits")
  func change() async throws {
    try await TestPlane.with { test async throws in
      _ = try await Self.prepare(test)
      let made = await test.call(.post, "/v1/vms", TestPlane.body("a", ("nics", [["network": "blue"]])))
      let id = try #require(made["nics"]?[0]?["id"]?.stringValue)
      let changed = await test.call(
        .patch, "/v1/nics/\(id)",
        [
          "security_groups": [], "anti_spoofing": false, "ingress_kbps": 1000,
          "allowed_pairs": [["cidr": "10.9.0.0/16"]],
        ])
      #expect(changed.status == 200 && changed["security_group_ids"] == [], "\(changed)")
      #expect(changed["allowed_pairs"]?[0]?["cidr"] == "10.9.0.0/16" && changed["ingress_kbps"] == 1000)
      let lifted = await test.call(.patch, "/v1/nics/\(id)", ["ingress_kbps": .null, "security_groups": ["default"]])
      #expect(lifted["ingress_kbps"] == .null && lifted["security_group_ids"]?.arrayValue?.count == 1, "\(lifted)")
      #expect(lifted["anti_spoofing"] == false)
    }
  }

  @Test("many that take addresses at once get each another one, until the last")
  func concurrency() async throws {
    try await TestPlane.with { test async throws in
      _ = try await Self.prepare(test)
      let vm = try await test.createVM("a")
      let subnet = try await test.database.one("SELECT id FROM subnets WHERE family(cidr) = 4")?.get(0, as: UUID.self)
      let network = try await test.database.one("SELECT id FROM networks")?.get(0, as: UUID.self)
      let taken = try await withThrowingTaskGroup(of: String?.self) { group in
        for index in 0..<300 {
          group.addTask {
            let nic = UUID()
            return try await test.database.transaction { session in
              try session.execute(
                """
                INSERT INTO nics (id, project_id, network_id, vm_id, position, mac)
                SELECT \(nic), project_id, \(network), id, \(index), \(MACAddress(locallyAdministered: UInt64(index)))
                  FROM vms WHERE id = \(vm.vm)
                """)
              return try session.one("SELECT host(aloft_take_address(\(subnet), \(index)::bigint, 'nic', \(nic)))")?
                .get(0)
            }
          }
        }
        return try await group.reduce(into: [String?]()) { $0.append($1) }
      }
      let given = taken.compactMap { $0 }
      // 256 without network, broadcast, gateway, metadata port and the 12 that are reserved.
      #expect(given.count == 240 && Set(given).count == 240)
    }
  }
}
