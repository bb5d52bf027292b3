import AloftModel
import Foundation
import JSON
import Postgres
import TestSupport
import Testing

@testable import ControlPlane

/// What is deleted while something comes to refer to it.
@Suite("Networks under way")
struct NetworkRaceTests {
  /// The answer to a request that has looked up what `deletion` takes away, and comes to refer to it when that is committed.
  private func answer(
    _ test: TestPlane, _ deletion: SQL, waiting fragment: String, _ request: @escaping @Sendable () async -> Answer
  ) async throws -> Answer {
    try await test.holding(deletion) {
      let call = Task { await request() }
      try await eventually("a statement waits for a lock: \(fragment)") {
        try await test.count(
          """
          SELECT count(*) FROM pg_stat_activity
           WHERE datname = current_database() AND wait_event_type = 'Lock' AND position(\(fragment) IN query) > 0
          """) > 0
      }
      return call
    }.value
  }

  private func refused(_ answer: Answer) {
    #expect(answer.status == 409 && answer.code == "wrong_state", "\(answer)")
    #expect(answer["detail"]?.stringValue?.contains("look again") == true, "\(answer)")
  }

  @Test("a NIC that goes while a load balancer gets it as a member is refused")
  func member() async throws {
    try await TestPlane.with(poolSize: 4) { test async throws in
      let machine = try await test.makeMachine("one")
      try await test.makeNetwork("blue", "10.0.0.0/24")
      let nic = try await test.plugNIC(machine, subnet: "blue-v4")
      try await test.make("routers", ["name": "gate"])
      #expect(await test.call(.put, "/v1/routers/gate/interfaces/blue-v4").status == 200)
      let listeners: JSONValue = [
        ["protocol": "tcp", "port": 80, "members": [["nic": .string(nic.description), "port": 80]]]
      ]
      refused(
        try await answer(test, "DELETE FROM nics RETURNING 1", waiting: "INSERT INTO load_balancer_members") {
          await test.call(
            .post, "/v1/load-balancers", ["name": "web", "subnet": "blue-v4", "listeners": listeners])
        })
      #expect(try await test.count("SELECT count(*) FROM load_balancers") == 0)
    }
  }

  @Test("a router that is led to a subnet, or out by an external network, that is deleted meanwhile stays as it is")
  func router() async throws {
    try await TestPlane.with(poolSize: 4) { test async throws in
      try await test.makeNetwork("blue", "10.0.0.0/24")
      try await test.makeInternet()
      try await test.make("routers", ["name": "gate"])
      refused(
        try await answer(test, "DELETE FROM subnets WHERE name = 'blue-v4' RETURNING 1", waiting: "FOR KEY SHARE") {
          await test.call(.put, "/v1/routers/gate/interfaces/blue-v4")
        })
      refused(
        try await answer(
          test,
          """
          WITH s AS (DELETE FROM subnets WHERE name = 'internet-v4')
          DELETE FROM networks WHERE name = 'internet' RETURNING 1
          """, waiting: "UPDATE routers"
        ) {
          await test.call(.patch, "/v1/routers/gate", ["external_network": "internet"])
        })
      #expect(await test.call(.get, "/v1/routers/gate")["external_network_id"] == .null)
    }
  }

  @Test("a group that is deleted while a NIC gets it is refused")
  func group() async throws {
    try await TestPlane.with(poolSize: 4) { test async throws in
      let machine = try await test.makeMachine("one")
      try await test.makeNetwork("blue", "10.0.0.0/24")
      let nic = try await test.plugNIC(machine, subnet: "blue-v4")
      try await test.make("security-groups", ["name": "web"])
      refused(
        try await answer(
          test, "DELETE FROM security_groups WHERE name = 'web' RETURNING 1", waiting: "INSERT INTO nic_security_groups"
        ) {
          await test.call(.patch, "/v1/nics/\(nic)", ["security_groups": ["web"]])
        })
    }
  }

  @Test("a floating IP of a subnet that is deleted meanwhile is refused")
  func floatingIP() async throws {
    try await TestPlane.with(poolSize: 4) { test async throws in
      try await test.makeInternet()
      refused(
        try await answer(test, "DELETE FROM subnets RETURNING 1", waiting: "aloft_take") {
          await test.call(.post, "/v1/floating-ips", ["external_network": "internet"])
        })
      #expect(try await test.count("SELECT count(*) FROM floating_ips") == 0)
    }
  }
}
