import AloftModel
import Foundation
import JSON
import Postgres
import TestSupport
import Testing

@testable import ControlPlane

@Suite("Security groups")
struct SecurityGroupTests {
  @Test("a group is made with rules, gets and loses others, and OVN hears of each change")
  func nouns() async throws {
    try await TestPlane.with { test async throws in
      let made = try await test.make(
        "security-groups",
        [
          "name": "web",
          "rules": [
            ["direction": "ingress", "protocol": "tcp", "port": 443], ["direction": "egress"],
            ["direction": "ingress", "protocol": "icmp", "icmp_type": 8, "remote": "fd00::/64"],
            ["direction": "ingress", "protocol": "udp", "first_port": 5000, "last_port": 5010, "remote": "web"],
          ],
        ])
      let rules = try #require(made["rules"]?.arrayValue)
      #expect(rules.count == 4 && made["is_default"] == false, "\(made)")
      #expect(rules[0]["first_port"] == 443 && rules[0]["last_port"] == 443 && rules[0]["ip_version"] == 4)
      #expect(rules[1]["protocol"] == "any" && rules[1]["remote_cidr"] == .null)
      #expect(rules[2]["remote_cidr"] == "fd00::/64" && rules[2]["ip_version"] == 6)
      #expect(rules[3]["remote_group_id"] == made["id"])
      _ = try await test.toldChanges()
      let added = await test.call(
        .post, "/v1/security-groups/web/rules", ["direction": "ingress", "remote": "192.0.2.1/32"])
      #expect(added.status == 201 && added["remote_cidr"] == "192.0.2.1/32", "\(added)")
      #expect(try await test.toldChanges() == ["security_group"])
      let rule = try #require(added["id"]?.stringValue)
      let stale = try #require(made.header("ETag"))
      let path = "/v1/security-groups/web/rules/\(rule)"
      #expect(await test.call(.delete, path, headers: ["If-Match": stale]).code == "precondition_failed")
      #expect(await test.call(.delete, path + "?dry_run=true").status == 204)
      #expect(await test.call(.delete, path).status == 204)
      #expect(try await test.toldChanges() == ["security_group"])
      #expect(await test.call(.delete, path).code == "not_found")
      let renamed = await test.call(.patch, "/v1/security-groups/web", ["name": "www", "labels": ["a": "b"]])
      #expect(renamed["name"] == "www" && renamed["rules"]?.arrayValue?.count == 4, "\(renamed)")
      let listed = await test.call(.get, "/v1/security-groups")["items"]?.arrayValue
      #expect(listed?.compactMap { $0["name"]?.stringValue }.sorted() == ["default", "www"])
      #expect(await test.call(.delete, "/v1/security-groups/www").status == 204)
      let id = try #require(made["id"]?.stringValue.flatMap { SecurityGroupID($0) })
      #expect(
        try await test.eventKinds(id.uuid)
          == ["created", "updated", "updated", "updated", "deleted"].map { "security_group.\($0)" })
      let audited = await test.call(.get, "/v1/audit?operation=createSecurityGroupRule")["items"]?[0]
      #expect(audited?["resource_id"]?.stringValue == id.description, "\(audited ?? .null)")
    }
  }

  @Test("a rule that makes no sense is refused, and the refusal names the place and what would work")
  func refusals() async throws {
    try await TestPlane.with { test async throws in
      try await test.make("security-groups", ["name": "web", "rules": [["direction": "egress"]]])
      let cases: [(JSONValue, String, String, String)] = [
        (["protocol": "icmp", "port": 80], "out_of_range", "/port", "icmp_type"),
        (["protocol": "any", "first_port": 80], "out_of_range", "/first_port", "tcp and udp"),
        (["port": 80], "out_of_range", "/port", "tcp and udp"),
        (["protocol": "tcp", "icmp_type": 8], "out_of_range", "/icmp_type", "icmp as protocol"),
        (["protocol": "icmp", "icmp_code": 0], "missing_field", "/icmp_type", "both"),
        (["protocol": "tcp", "first_port": 9, "last_port": 8], "out_of_range", "/last_port", "9"),
        (["protocol": "tcp", "last_port": 8], "missing_field", "/first_port", "port"),
        (["protocol": "tcp", "port": 8, "last_port": 9], "out_of_range", "/port", "one of both"),
        (["ip_version": 6, "remote": "10.0.0.0/8"], "bad_format", "/remote", "IPv6"),
        (["remote": "10.0.0.1/8"], "bad_format", "/remote", "10.0.0.0/8"),
        (["remote": "10.0.0/8"], "bad_format", "/remote", "10.0.0.0/24"),
        (["remote": "gone"], "not_found", "/remote", "gone"),
        (["direction": "egress"], "duplicate_item", "", "already"),
      ]
      for (rule, code, place, word) in cases {
        var body: JSONObject = ["direction": "ingress"]
        for (key, value) in rule.objectValue ?? [:] { body[key] = value }
        let answer = await test.call(.post, "/v1/security-groups/web/rules", .object(body))
        #expect(answer.code == code && answer.place == place, "\(rule): \(answer)")
        #expect(answer["detail"]?.stringValue?.contains(word) == true, "\(answer)")
      }
      let twice = await test.call(
        .post, "/v1/security-groups",
        ["name": "b", "rules": [["direction": "egress"], ["direction": "egress", "protocol": "any"]]])
      #expect(twice.code == "duplicate_item" && twice.place == "/rules/1", "\(twice)")
      let unknown = await test.call(
        .post, "/v1/security-groups", ["name": "b", "rules": [["direction": "egress", "remote": "c"]]])
      #expect(unknown.code == "not_found" && unknown.place == "/rules/0/remote", "\(unknown)")
      #expect(await test.call(.post, "/v1/security-groups", ["name": "web"]).code == "name_taken")
      #expect(await test.call(.get, "/v1/security-groups/b").code == "not_found")
    }
  }

  @Test(
    "a group that a NIC or another group's rule needs is not deleted, and the refusal names them; nor is the default group"
  )
  func uses() async throws {
    try await TestPlane.with { test async throws in
      let machine = try await test.makeMachine("one")
      try await test.makeNetwork("blue", "10.0.0.0/24")
      try await test.make("security-groups", ["name": "web"])
      try await test.make(
        "security-groups", ["name": "db", "rules": [["direction": "ingress", "remote": "web"]]])
      let referred = await test.call(.delete, "/v1/security-groups/web")
      #expect(referred.code == "in_use" && referred["detail"]?.stringValue?.contains("db") == true, "\(referred)")
      #expect(await test.call(.delete, "/v1/security-groups/default").code == "in_use")
      _ = try await test.plugNIC(machine, subnet: "blue-v4", groups: ["db"])
      let used = await test.call(.delete, "/v1/security-groups/db")
      #expect(used.code == "in_use" && used["detail"]?.stringValue?.contains("one") == true, "\(used)")
    }
  }

  @Test("groups that refer to each other keep a project from being deleted, and go with all that is in it")
  func removal() async throws {
    try await TestPlane.with { test async throws in
      _ = await test.call(.post, "/v1/projects", ["name": "shop"])
      let one = await test.call(.post, "/v1/security-groups?project=shop", ["name": "one"])
      #expect(one.status == 201, "\(one)")
      _ = await test.call(
        .post, "/v1/security-groups?project=shop",
        ["name": "two", "rules": [["direction": "ingress", "remote": "one"]]])
      let back = await test.call(
        .post, "/v1/security-groups/one/rules?project=shop", ["direction": "ingress", "remote": "two"])
      #expect(back.status == 201, "\(back)")
      let refused = await test.call(.delete, "/v1/projects/shop")
      #expect(refused.code == "in_use", "\(refused)")
      #expect(refused["detail"]?.stringValue?.contains("2 security groups") == true, "\(refused)")
      let accepted = await test.call(.delete, "/v1/projects/shop?cascade=true")
      #expect(accepted.status == 202, "\(accepted)")
      try await test.settle()
      #expect(await test.call(.get, "/v1/projects/shop").code == "not_found")
      #expect(try await test.findings() == [])
    }
  }
}
