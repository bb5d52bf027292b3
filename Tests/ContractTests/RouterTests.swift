import Contract
import HTTPTypes
import Testing

@Suite("Router")
struct RouterTests {
  static func contract() throws -> Contract {
    func operation(_ id: String, _ parameters: [String] = []) -> String {
      let list = parameters.map { "{ name: \($0), in: path, required: true, schema: { type: string } }" }
      return
        "{ operationId: \(id), parameters: [\(list.joined(separator: ", "))], responses: { '200': { description: d } } }"
    }
    return try load([
      "root.yaml": document(
        paths: """
            /: { get: \(operation("root")) }
            /v1/vms: { get: \(operation("list")), post: \(operation("create")) }
            /v1/vms/special: { get: \(operation("special")) }
            /v1/vms/{vm}: { get: \(operation("get", ["vm"])), delete: \(operation("delete", ["vm"])) }
            /v1/vms/{vm}:start: { post: \(operation("start", ["vm"])) }
            /v1/vms/{vm}/disks/{disk}: { get: \(operation("disk", ["vm", "disk"])), head: \(operation("diskHead", ["vm", "disk"])) }
            /v1/vms/special/other: { get: \(operation("other")) }
            /v1/placement:explain: { post: \(operation("explain")) }
          """)
    ])
  }

  static let matches: [(HTTPRequest.Method, String, String, [String: String])] = [
    (.get, "/", "root", [:]), (.get, "/v1/vms", "list", [:]), (.get, "/v1/vms?limit=3/4", "list", [:]),
    (.post, "/v1/vms", "create", [:]), (.get, "/v1/vms/a", "get", ["vm": "a"]),
    (.get, "/v1/vms/special", "special", [:]), (.get, "/v1/vms/special2", "get", ["vm": "special2"]),
    (.get, "/v1/vms/special/disks/1", "disk", ["vm": "special", "disk": "1"]),
    (.get, "/v1/vms/special/other", "other", [:]), (.post, "/v1/placement:explain", "explain", [:]),
    (.post, "/v1/vms/a:start", "start", ["vm": "a"]), (.get, "/v1/vms/a:stop", "get", ["vm": "a:stop"]),
    (.get, "/v1/%76ms/%C3%A9%20x", "get", ["vm": "é x"]), (.head, "/v1/vms", "list", [:]),
    (.head, "/v1/vms/a/disks/b", "diskHead", ["vm": "a", "disk": "b"]), (.get, "/v1/vms/a+b", "get", ["vm": "a+b"]),
  ]

  @Test("paths lead to their operation", arguments: matches)
  func match(_ method: HTTPRequest.Method, _ path: String, _ id: String, _ parameters: [String: String]) throws {
    let match = try Self.contract().match(method, path)
    #expect(match.operation.id == id)
    #expect(match.pathParameters == parameters)
  }

  @Test(
    "what names nothing is not found",
    arguments: [
      "", "v1/vms", "/v1", "/v1/", "/v1/vms/", "//v1/vms", "/v1//vms", "/v1/vms/a/", "/v1/vms/a%2Fb", "/v1/vms/..",
      "/v1/vms/%2e%2E", "/v1/vms/.", "/v1/vms/%00", "/v1/vms/%", "/v1/vms/%4", "/v1/vms/%zz", "/v1/vms/%C0%AF",
      "/v1/vms/%ff", "/V1/vms", "/v1/vms/a/disks", "*",
    ])
  func notFound(_ path: String) throws {
    guard case .notFound = try Self.contract().router.match(.get, path) else {
      Issue.record("found \(path)")
      return
    }
  }

  @Test("another method on a known path tells which are allowed, with HEAD where there is GET")
  func methodNotAllowed() throws {
    guard case .methodNotAllowed(let allow) = try Self.contract().router.match(.patch, "/v1/vms/a") else {
      Issue.record("not refused")
      return
    }
    #expect(allow == [.get, .delete, .head])
  }

  @Test("routing speed, printed")
  func speed() throws {
    let router = try Self.contract().router
    let rounds = 20_000
    let elapsed = ContinuousClock().measure {
      for _ in 0..<rounds { _ = router.match(.get, "/v1/vms/vm_01h455vb4pex5vsknk084sn02q/disks/2") }
    }
    print("route: \(elapsed / rounds)")
  }
}
