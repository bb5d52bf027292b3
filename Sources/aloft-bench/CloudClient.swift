import AloftModel
import HTTPClient
import HTTPTypes
import JSON
import Logging

/// The few calls of the API that the benchmark makes.
struct CloudClient: Sendable {
  private let url: String
  private let headers: HTTPFields
  private let client: HTTPClient

  init(url: String, ca: String, token: String, connections: Int) {
    self.url = url
    headers = [.authorization: "Bearer \(token)", .contentType: "application/json"]
    client = HTTPClient(
      configuration: HTTPClientConfiguration(trustRoots: .file(ca), maxConnectionsPerHost: connections),
      logger: Logger(label: "aloft-bench", factory: { _ in SwiftLogNoOpLogHandler() }))
  }

  /// A token with which one node can join.
  func joinToken() async throws -> String {
    let answer = try await post("/v1/node-tokens", ["description": "bench"])
    guard let secret = answer["secret"]?.stringValue else { throw BenchFailure("a join token without a secret") }
    return secret
  }

  /// Creates a small machine. With `wait` (seconds) it returns when the machine runs.
  /// `networks`: one NIC for each; nil says nothing about NICs.
  func create(_ name: String, image: String, wait: Int?, networks: [String]? = nil) async throws -> VMID {
    var body = JSONObject()
    body["name"] = .string(name)
    body["image"] = .string(image)
    body["nics"] = networks.map { .array($0.map { ["network": .string($0)] }) }
    let answer = try await post("/v1/vms", body, prefer: wait.map { "wait=\($0)" })
    guard let vm = answer["id"]?.stringValue.flatMap({ VMID($0) }) else { throw BenchFailure("a VM without an id") }
    if wait != nil, answer["state"]?.stringValue != "running" { throw BenchFailure("\(name) did not run in time") }
    return vm
  }

  /// Makes a network with one subnet.
  func makeNetwork(_ name: String, cidr: String) async throws {
    _ = try await post("/v1/networks", ["name": .string(name)])
    _ = try await post("/v1/subnets", ["name": .string(name), "network": .string(name), "cidr": .string(cidr)])
  }

  /// Plugs a NIC into a machine; returns when that is accepted.
  func plug(_ vm: String, into network: String) async throws -> NICID {
    let answer = try await post("/v1/nics", ["vm": .string(vm), "network": .string(network)])
    guard let nic = answer["id"]?.stringValue.flatMap({ NICID($0) }) else { throw BenchFailure("a NIC without an id") }
    return nic
  }

  func waitUntilRuns(_ vm: VMID) async throws {
    for _ in 0..<3000 {
      let answer = try await send(HTTPClientRequest(url: "\(url)/v1/vms/\(vm)", headers: headers))
      if answer["state"]?.stringValue == "running", answer["operation"]?["id"] == nil { return }
      try await Task.sleep(for: .milliseconds(10))
    }
    throw BenchFailure("\(vm) did not run in 30 s")
  }

  private func post(_ path: String, _ body: JSONObject, prefer: String? = nil) async throws -> JSONObject {
    var headers = headers
    if let prefer, let name = HTTPField.Name("Prefer") { headers[name] = prefer }
    return try await send(
      HTTPClientRequest(method: .post, url: url + path, headers: headers, body: .bytes(JSONValue.object(body).bytes)))
  }

  private func send(_ request: HTTPClientRequest) async throws -> JSONObject {
    let response = try await client.send(request, deadline: .seconds(90))
    guard (200...299).contains(response.status), case .object(let object) = try JSONValue.parse(response.body) else {
      throw BenchFailure(
        "\(request.url) answered \(response.status): \(String(decoding: response.body, as: UTF8.self))")
    }
    return object
  }
}
