import Foundation
import JSON
import Testing

@testable import AloftCLI

/// `aloft project` and `aloft member` against a server on loopback.
@Suite struct ProjectTests {
  @Test("projects are made with a key, renamed and deleted")
  func projects() async throws {
    let server = try await CannedServer()
    #expect(await server.aloft("project", "create", "shop", "-o", "name").output == "shop\n")
    #expect(await server.aloft("project", "rename", "shop", "store", "--dry-run", "-o", "name").output == "store\n")
    let deleted = await server.aloft("project", "delete", "a", "full", "b")
    #expect(deleted.status != .success)
    #expect(
      deleted.errors == """
        deleted project a
        aloft: project full holds 2 VMs, 1 image
        hint: Delete what uses it or is in it first, then try again.
        request: req-7
        deleted project b

        """)
    let requests = try await server.requests()
    #expect(requests[0]["body"] == ["name": "shop"])
    #expect(requests[0]["headers"]?["idempotency-key"] == "random-1")
    #expect(requests[1]["method"] == "PATCH" && requests[1]["path"] == "/v1/projects/shop")
    #expect(requests[1]["query"] == ["dry_run": "true"])
  }

  @Test("a project that holds something is deleted with it when that is asked for, and its end is waited for")
  func cascade() async throws {
    let server = try await CannedServer()
    let deleted = await server.aloft("project", "delete", "full", "--cascade")
    #expect(deleted.status == .success && deleted.errors.contains("deleted project full"), "\(deleted)")
    let begun = await server.aloft("project", "delete", "full", "--cascade", "--no-wait", "-o", "json")
    #expect(try JSONValue.parse(begun.output)["state"] == "deleting")
    let requests = try await server.requests()
    #expect(requests[0]["query"] == ["cascade": "true"])
    #expect(requests.contains { $0["path"] == "/v1/operations/op_1" })
  }

  @Test("the project of members is the one that is named, else the environment's, else default")
  func place() async throws {
    let server = try await CannedServer()
    _ = await server.aloft("member", "list", "--project", "p/1", environment: ["ALOFT_PROJECT": "p2"])
    _ = await server.aloft("member", "list", environment: ["ALOFT_PROJECT": "p2"])
    _ = await server.aloft("member", "show", "bob", environment: ["ALOFT_PROJECT": ""])
    let paths = try await server.requests().map { $0["path"] }
    #expect(paths == ["/v1/projects/p%2F1/members", "/v1/projects/p2/members", "/v1/projects/default/members/bob"])
  }

  @Test("members are listed, given a role and removed; one that fails does not keep the others from it")
  func members() async throws {
    let server = try await CannedServer()
    let table = await server.aloft("member", "list").output.split(separator: "\n").map(String.init)
    #expect(table.first?.split(separator: " ") == ["USER", "KIND", "ROLE", "ID", "AGE"])
    #expect(table.last?.hasPrefix("alice  person  viewer  usr_1  ") == true)
    let set = await server.aloft("member", "set", "alice", "nobody", "bob", "--role", "admin", "-o", "name")
    #expect(set.status == .notFound)
    #expect(set.output == "alice\nbob\n")
    #expect(set.errors == "aloft: there is no user nobody\nrequest: req-7\n")
    let removed = await server.aloft("member", "remove", "bob", "last")
    #expect(removed.errors.hasPrefix("deleted membership of bob\naloft: last is the last admin of project default"))
    let requests = try await server.requests().filter { $0["method"] == "PUT" }
    #expect(requests.allSatisfy { $0["body"] == ["role": "admin"] } && requests.count == 3)
  }

  @Test("usage is a table; limits are changed one by one, the others stay")
  func quotas() async throws {
    let server = try await CannedServer()
    let table = await server.aloft("quota", "show", "--project", "shop").output.split(separator: "\n").map(String.init)
    #expect(table.first?.split(separator: " ") == ["QUOTA", "USED", "LIMIT", "DEFAULT"])
    #expect(table.last?.split(separator: " ") == ["vcpus", "5", "-", "false"])
    let set = await server.aloft(
      "quota", "set", "memory-mib=1024", "vms=unlimited", "images=default", "--dry-run", "-o", "json")
    #expect(try JSONValue.parse(set.output) == ["vms": .null, "memory_mib": 1024], "\(set)")
    #expect(await server.aloft("quota", "set-defaults", "vms=7").output.contains("vms"))
    #expect(await server.aloft("quota", "set", "cpus=7").status == .usage)
    #expect(await server.aloft("quota", "set", "vms=-7").status == .usage)
    let puts = try await server.requests().filter { $0["method"] == "PUT" }
    #expect(puts.map { $0["path"] } == ["/v1/projects/default/quotas", "/v1/quotas"])
    #expect(puts[0]["query"] == ["dry_run": "true"] && puts[0]["headers"]?["if-match"] == "\"2\"")
    #expect(puts[1]["body"] == ["vms": 7, "images": 4])
  }
}
