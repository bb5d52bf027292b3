import JSON
import Testing

@testable import AloftCLI

/// `aloft whoami`, `aloft user` and `aloft token` against a server on loopback.
@Suite struct UserTests {
  @Test("whoami shows the user, what the token allows and where")
  func whoami() async throws {
    let server = try await CannedServer()
    let shown = await server.aloft("whoami").output
    for text in ["user.name", "ada", "cloud_role", "auditor", "name=default,role=member"] {
      #expect(shown.contains(text), "\(shown)")
    }
    #expect(await server.aloft("whoami", "-o", "name").output == "tok_1\n")
  }

  @Test("users are made with what was said, changed in what was said, and deleted")
  func users() async throws {
    let server = try await CannedServer()
    #expect(await server.aloft("user", "create", "ada", "-o", "name").output == "ada\n")
    _ = await server.aloft("user", "create", "ci", "--kind", "service", "--cloud-role", "operator", "--disabled")
    _ = await server.aloft("user", "update", "ada", "--no-cloud-role", "--disable", "--dry-run")
    _ = await server.aloft("user", "update", "ada", "--rename", "eve", "--cloud-role", "admin", "--enable")
    let requests = try await server.requests()
    #expect(requests[0]["body"] == ["name": "ada"])
    #expect(requests[0]["headers"]?["idempotency-key"] == "random-1")
    #expect(
      requests[1]["body"] == ["name": "ci", "kind": "service", "cloud_role": "operator", "disabled": true])
    #expect(requests[2]["body"] == ["cloud_role": .null, "disabled": true])
    #expect(requests[2]["query"] == ["dry_run": "true"])
    #expect(requests[3]["body"] == ["name": "eve", "cloud_role": "admin", "disabled": false])
    #expect(requests[3]["method"] == "PATCH" && requests[3]["path"] == "/v1/users/ada")
    #expect(await server.aloft("user", "list").output.contains("CLOUD-ROLE"))
    #expect(await server.aloft("user", "show", "ada").output.contains("usr_1"))
    #expect(await server.aloft("user", "delete", "a", "b").errors == "deleted user a\ndeleted user b\n")
    let last = await server.aloft("user", "update", "last", "--disable")
    #expect(last.status == .refused)
    #expect(last.errors.contains("last enabled user with the cloud role admin"))
  }

  @Test("a new token shows its secret, and is for the project that is named and not for the environment's")
  func tokens() async throws {
    let server = try await CannedServer()
    let made = await server.aloft(
      "token", "create", "--ttl", "90d", "--description", "laptop", environment: ["ALOFT_PROJECT": "shop"])
    #expect(made.output.contains("aloft_s"), "\(made)")
    #expect(try await server.requests().last?["body"] == ["description": "laptop", "ttl_seconds": 7_776_000])
    _ = await server.aloft("token", "create", "--project", "shop", "--role", "viewer", "--user", "ci")
    #expect(try await server.requests().last?["body"] == ["project": "shop", "role": "viewer", "user": "ci"])
    #expect(await server.aloft("token", "list", "--user", "ci", "-o", "name").output == "tok_1\n")
    #expect(try await server.requests().last?["query"] == ["user": "ci", "limit": "500"])
    #expect(await server.aloft("token", "show", "tok_9").output.contains("last_used_at"))
    #expect(await server.aloft("token", "delete", "tok_9").errors == "deleted token tok_9\n")
    let full = await server.aloft("token", "create", "--description", "full")
    #expect(full.status == .refused && full.errors.contains("hint: Delete what is not in use"), "\(full.errors)")
  }
}
