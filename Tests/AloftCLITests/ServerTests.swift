import Foundation
import JSON
import TestSupport
import Testing

@testable import AloftCLI

/// The commands against a server on loopback that answers by the contract.
@Suite struct ServerTests {
  private func sent(_ requests: [JSONValue], _ method: String, _ path: String) -> [JSONValue] {
    requests.filter { $0["method"]?.stringValue == method && $0["path"]?.stringValue == path }
  }

  @Test("a list is the items of all pages, in every format")
  func pages() async throws {
    let server = try await CannedServer()
    #expect(await server.aloft("vm", "list", "-o", "name").output == "a\nb\nc\n")
    let json = await server.aloft("vm", "list", "-o", "json")
    let items = try JSONValue.parse(json.output).arrayValue
    #expect(items?.map { $0["name"] } == ["a", "b", "c"])
    #expect(items?.first?.objectValue?.keys.prefix(3) == ["id", "name", "project_id"])
    let table = await server.aloft("vm", "list").output
    #expect(table.split(separator: "\n").count == 4)
    #expect(await server.aloft("vm", "list", "-o", "yaml").output.hasPrefix("- id: vm_a\n  name: a\n"))
    #expect(await server.aloft("vm", "list", "--limit", "1", "-o", "name").output == "a\n")
    let requests = sent(try await server.requests(), "GET", "/v1/vms")
    #expect(requests[1]["query"]?["cursor"] == "page2")
    #expect(requests.last?["query"] == ["limit": "1"])
  }

  @Test("flags and filters reach the query, the project from the environment too")
  func query() async throws {
    let server = try await CannedServer()
    _ = await server.aloft("vm", "list", "--node", "n1", "-l", "a=b&c", "--project", "p1")
    _ = await server.aloft("image", "show", "x", environment: ["ALOFT_PROJECT": "p2"])
    let requests = try await server.requests()
    let query = requests[0]["query"]
    #expect(query == ["project": "p1", "node": "n1", "label": "a=b&c", "limit": "500"])
    #expect(requests.last?["query"] == ["project": "p2"])
  }

  @Test("create waits for its operation and shows the machine as it is then")
  func createAndWait() async throws {
    let server = try await CannedServer()
    let outcome = await server.aloft("vm", "create", "web1", "--image", "tiny", "--memory", "1GiB", "-o", "json")
    #expect(outcome.status == .success)
    #expect(try JSONValue.parse(outcome.output)["state"] == "running")
    #expect(
      outcome.errors == """
        web1: vm.create queued
        web1: vm.create running: downloading image

        """)
    let requests = try await server.requests()
    let posts = sent(requests, "POST", "/v1/vms")
    #expect(posts.count == 1)
    #expect(posts[0]["body"] == ["name": "web1", "image": "tiny", "memory_mib": 1024])
    #expect(posts[0]["headers"]?["idempotency-key"] == "random-1")
    #expect(sent(requests, "GET", "/v1/operations/op_web1").allSatisfy { $0["query"]?["wait"] == "30" })
  }

  @Test("on a terminal the progress is one line with the elapsed time, which goes away")
  func terminalProgress() async throws {
    let server = try await CannedServer()
    let outcome = await server.aloft("vm", "create", "web1", "--image", "tiny", terminal: true, tick: .seconds(1))
    #expect(outcome.errors.contains("\r\u{1b}[2Kweb1: vm.create running: downloading image ("))
    #expect(outcome.errors.hasSuffix("\r\u{1b}[2K"))
    #expect(!outcome.errors.contains("\n"))
    #expect(!outcome.output.contains("\u{1b}"))
  }

  @Test("--no-wait and --dry-run ask once and wait for nothing")
  func noWait() async throws {
    let server = try await CannedServer()
    let outcome = await server.aloft("vm", "create", "w", "--image", "i", "--no-wait", "-o", "name")
    #expect(outcome.output == "w\n")
    _ = await server.aloft("vm", "create", "w", "--image", "i", "--dry-run")
    let requests = try await server.requests()
    #expect(requests.map { $0["method"] } == ["POST", "POST"])
    #expect(requests[1]["query"]?["dry_run"] == "true")
  }

  @Test("a POST whose connection is dropped is sent again with the same key")
  func retry() async throws {
    let server = try await CannedServer()
    let outcome = await server.aloft("vm", "create", "dropped", "--image", "i", "--no-wait", "-o", "name")
    #expect(outcome.status == .success)
    let posts = sent(try await server.requests(), "POST", "/v1/vms")
    #expect(posts.map { $0["headers"]?["idempotency-key"] } == ["random-1", "random-1"])
    #expect(posts[0]["body"] == posts[1]["body"])
  }

  @Test("a key that was given is sent, and with several names each has its own")
  func givenKey() async throws {
    let server = try await CannedServer()
    _ = await server.aloft("vm", "start", "a", "--idempotency-key", "k", "--no-wait")
    _ = await server.aloft("vm", "reboot", "a", "b", "--idempotency-key", "k", "--no-wait")
    let keys = try await server.requests().map { $0["headers"]?["idempotency-key"] }
    #expect(keys == ["k", "k/a", "k/b"])
  }

  @Test("a failed operation is exit code 1, the time that passed 7")
  func operationEnds() async throws {
    let server = try await CannedServer()
    let failed = await server.aloft("vm", "create", "failing", "--image", "i")
    #expect(failed.status == .operationFailed)
    #expect(failed.output.isEmpty)
    #expect(failed.errors.contains("aloft: failing: vm.create failed: the image is corrupt"))
    let late = await server.aloft("operation", "wait", "op_forever", "--timeout", "1m", tick: .seconds(7))
    #expect(late.status == .timedOut)
    #expect(late.errors.contains("aloft: timed out after 1m00s; vm.create goes on"))
    #expect(late.errors.contains("`aloft operation wait op_forever`"))
  }

  @Test("a wait outlives a server that is away for a moment")
  func restart() async throws {
    let server = try await CannedServer()
    let outcome = await server.aloft("vm", "create", "lost", "--image", "i")
    #expect(outcome.status == .success)
    #expect(outcome.errors.contains("lost: restarting; trying again"))
  }

  @Test("Ctrl-C during a wait says that the operation goes on")
  func interrupted() async throws {
    let server = try await CannedServer()
    let task = Task { await server.aloft("vm", "create", "forever", "--image", "i", "--timeout", "1000d") }
    try await eventually("it waits for the operation") {
      try await !sent(server.requests(), "GET", "/v1/operations/op_forever").isEmpty
    }
    task.cancel()
    let outcome = await task.value
    #expect(outcome.status == .interrupted)
    #expect(outcome.errors.contains("aloft: interrupted; vm.create goes on"))
    #expect(outcome.errors.contains("`aloft operation show op_forever`"))
  }

  @Test("deleting several goes on after one that is missing and ends with its exit code")
  func deleteSeveral() async throws {
    let server = try await CannedServer()
    let outcome = await server.aloft("vm", "delete", "a", "missing", "b")
    #expect(outcome.status == .notFound)
    #expect(outcome.output.isEmpty)
    #expect(outcome.errors.contains("aloft: there is no virtual machine 'missing'"))
    #expect(outcome.errors.contains("deleted virtual machine a\ndeleted virtual machine b\n"))
    let json = await server.aloft("vm", "delete", "c", "-o", "json")
    #expect(try JSONValue.parse(json.output)["operation"]?["status"] == "succeeded")
    let image = await server.aloft("image", "delete", "x", "-o", "name")
    #expect(image.output == "x\n")
    let node = await server.aloft("node", "delete", "n1", "--force")
    #expect(node.errors == "deleted node n1\n")
    #expect(try await server.requests().last?["query"] == ["force": "true"])
  }

  @Test("refusals and faults of the server end with their exit codes and their reasons")
  func refusals() async throws {
    let server = try await CannedServer()
    let full = await server.aloft("vm", "create", "full", "--image", "i")
    #expect(full.status == .refused)
    #expect(full.errors.contains("  memory: removed 3 nodes: less than 8192 MiB free\n  would fit: --memory 4GiB\n"))
    #expect(full.errors.contains("request: req-7"))
    let bad = await server.aloft("vm", "create", "bad", "--image", "i")
    #expect(bad.errors.contains("  /vcpus: must be at most 512\n"))
    #expect(await server.aloft("vm", "show", "missing").status == .notFound)
    let token = await server.aloft("vm", "list", environment: ["ALOFT_TOKEN": "wrong"])
    #expect(token.status == .notAuthenticated)
    let unfit = await server.aloft("placement", "explain", "--vcpus", "200", "--memory", "1GiB", "--disk", "1")
    #expect(unfit.status == .refused)
    #expect(unfit.output == "does not fit\n  of 1 node:\n  vcpus: removed 1 node: 8 CPUs\n  would fit: 8 vCPUs\n")
    let fits = await server.aloft("placement", "explain", "--vcpus", "2", "--memory", "1GiB", "--disk", "1")
    #expect(fits.output == "fits\n")
  }

  @Test("labels are edited on top of the current ones, and again when somebody else was faster")
  func labels() async throws {
    let server = try await CannedServer()
    let outcome = await server.aloft("vm", "label", "contended", "a=b", "tier-", "-o", "json")
    #expect(outcome.status == .success)
    #expect(try JSONValue.parse(outcome.output)["labels"] == ["a": "b"])
    let patches = sent(try await server.requests(), "PATCH", "/v1/vms/contended")
    #expect(patches.map { $0["headers"]?["if-match"] } == ["\"0\"", "\"1\""])
  }

  @Test("nodes are cordoned, shown with their claims, and a new join token shows its secret")
  func fleet() async throws {
    let server = try await CannedServer()
    _ = await server.aloft("node", "cordon", "n1")
    #expect(try await server.requests().last?["body"] == ["schedulable": false])
    #expect(await server.aloft("node", "list").output.contains("2/8"))
    #expect(await server.aloft("node", "show", "n1").output.contains("claimed.memory_mib"))
    let token = await server.aloft("node-token", "create", "--ttl", "1h", "--description", "rack 4")
    #expect(token.output.contains("aloftjoin_s"))
    #expect(try await server.requests().last?["body"] == ["description": "rack 4", "ttl_seconds": 3600])
  }

  @Test("a raw call prints the answer whatever it is, and its exit code tells")
  func rawCall() async throws {
    let server = try await CannedServer()
    let folder = try TemporaryFolder()
    let body = try folder.file("body.json", #"{"name":"w","image":"i"}"#)
    let post = await server.aloft("api", "post", "/v1/vms", "--body", "@\(body)", "--include")
    #expect(post.status == .success)
    #expect(post.output.hasPrefix("HTTP 202\n"))
    #expect(try await server.requests().last?["headers"]?["idempotency-key"] == "random-1")
    let missing = await server.aloft("api", "GET", "/v1/vms/missing")
    #expect(missing.status == .notFound)
    #expect(missing.output.contains("\"code\": \"not_found\""))
  }
}
