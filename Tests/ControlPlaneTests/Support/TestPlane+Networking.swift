import AloftModel
import Foundation
import JSON
import Postgres
import Testing

@testable import ControlPlane

extension TestPlane {
  /// Creates something, which must work.
  @discardableResult
  func make(_ path: String, _ body: JSONValue) async throws -> Answer {
    let made = await call(.post, "/v1/\(path)", body)
    try #require(made.status == 201, "\(body): \(made)")
    return made
  }

  /// A network with a subnet of the name and `-v4`, or whatever is given.
  func makeNetwork(_ name: String, _ cidrs: String...) async throws {
    try await make("networks", ["name": .string(name)])
    for cidr in cidrs {
      let suffix = cidr.contains(":") ? "-v6" : "-v4"
      try await make("subnets", ["name": .string(name + suffix), "network": .string(name), "cidr": .string(cidr)])
    }
  }

  /// A way out, with an IPv4 subnet that gives out ten addresses.
  func makeInternet() async throws {
    try await make("external-networks", ["name": "internet", "physical_network": "public"])
    try await make(
      "external-networks/internet/subnets",
      ["name": "internet-v4", "cidr": "203.0.113.0/24", "pools": ["203.0.113.10-203.0.113.19"]])
  }

  /// A VM, with its image and a node for it.
  func makeMachine(_ name: String) async throws -> VMID {
    if await call(.get, "/v1/images/tiny").status == 404 {
      try await makeImage()
      _ = try await FakeAgent.join(self)
    }
    return try await createVM(name).vm
  }

  /// A VM's NIC with one address, as rows: what its own operations do is tested elsewhere.
  @discardableResult
  func plugNIC(
    _ machine: VMID, subnet: String, address: String? = nil, groups: [String] = ["default"],
    as nic: NICID = NICID(UUID())
  ) async throws -> NICID {
    try await database.transaction { session in
      let subnet = try #require(
        try session.one("SELECT id, network_id, project_id FROM subnets WHERE name = \(subnet)"))
      let mac = nic.uuid.uuidString.suffix(10)
      try session.execute(
        """
        INSERT INTO nics (id, project_id, network_id, vm_id, position, mac)
        VALUES (\(nic), \(try subnet.get(2, as: UUID.self)), \(try subnet.get(1, as: UUID.self)), \(machine),
                (SELECT count(*) FROM nics WHERE vm_id = \(machine)), ('02' || \(String(mac)))::macaddr)
        """)
      try session.execute(
        """
        INSERT INTO nic_security_groups (nic_id, group_id)
        SELECT \(nic), id FROM security_groups WHERE name = ANY(\(groups)) AND project_id = \(try subnet.get(2, as: UUID.self))
        """)
      let id = try subnet.get(0, as: UUID.self)
      if let address {
        try session.execute(
          "INSERT INTO addresses (subnet_id, address, nic_id) VALUES (\(id), \(address)::inet, \(nic))")
      } else {
        _ = try session.query("SELECT aloft_take_address(\(id), 7, 'nic', \(nic))")
      }
    }
    return nic
  }

  /// Of which objects OVN is to hear: the kinds, and forgets them.
  func toldChanges() async throws -> Set<String> {
    Set(try await database.query("DELETE FROM network_changes RETURNING kind").map { try $0.get(0, as: String.self) })
  }
}
