import AloftModel
import ControlPlane
import Crypto
import Foundation
import HTTP
import HTTPTypes
import JSON
import TestSupport
import Testing

/// What came back from a call.
struct Answer: Sendable, CustomStringConvertible {
  var status: Int
  var headers: HTTPFields
  var bytes: [UInt8]
  /// Null when the body is not JSON.
  var json: JSONValue

  var description: String { "\(status) \(String(decoding: bytes, as: UTF8.self))" }

  subscript(_ name: String) -> JSONValue? { json[name] }
  var code: String? { json["code"]?.stringValue }
  /// Where the first fault is: the pointer or the parameter.
  var place: String? {
    let first = json["errors"]?[0]
    return first?["pointer"]?.stringValue ?? first?["parameter"]?.stringValue
  }
  func header(_ name: String) -> String? { HTTPField.Name(name).flatMap { headers[$0] } }
}

/// A VM that was asked for: its id and the operation that carries the request out.
struct Accepted: Sendable {
  var vm: VMID
  var operation: OperationID
  var etag: String

  init(_ answer: Answer) throws {
    try #require(answer.status == 202, "\(answer)")
    vm = try #require(answer["id"]?.stringValue.flatMap { VMID($0) })
    operation = try #require(answer["operation"]?["id"]?.stringValue.flatMap { OperationID($0) })
    etag = try #require(answer.header("ETag"))
  }
}

extension TestPlane {
  /// Calls an operation with the admin's token, or with `authorization`.
  func call(
    _ method: HTTPRequest.Method, _ target: String, _ body: JSONValue? = nil, headers: [String: String] = [:],
    on replica: ControlPlane? = nil
  ) async -> Answer {
    var headers = headers
    if body != nil { headers["Content-Type"] = headers["Content-Type"] ?? "application/json" }
    headers["Authorization"] = headers["Authorization"] ?? "Bearer \(token)"
    return await send(method, target, bytes: body?.bytes ?? [], headers: headers, on: replica)
  }

  /// Calls with exactly these bytes and headers.
  func send(
    _ method: HTTPRequest.Method, _ target: String, bytes: [UInt8] = [], headers: [String: String] = [:],
    peer: Peer = Peer(address: "127.0.0.1"), on replica: ControlPlane? = nil
  ) async -> Answer {
    var fields = HTTPFields()
    for (name, value) in headers {
      if let name = HTTPField.Name(name) { fields[name] = value }
    }
    let parts = target.split(separator: "?", maxSplits: 1).map(String.init)
    let request = Request(
      head: HTTPRequest(method: method, scheme: "https", authority: "aloft.test", path: target, headerFields: fields),
      path: parts[0], query: parts.count == 2 ? parts[1] : nil, peer: peer, body: RequestBody(bytes))
    let response = await (replica ?? plane).respond(request)
    var body: [UInt8] = []
    if case .bytes(let bytes) = response.body { body = bytes }
    let json = (try? JSONValue.parse(body)) ?? .null
    if TestSecrets.areKept { Self.registerSecrets(headers, bytes, response.headers, json) }
    return Answer(status: Int(response.status.code), headers: response.headers, bytes: body, json: json)
  }

  /// Writes down what is secret of a call: it must not come to any log.
  private static func registerSecrets(
    _ headers: [String: String], _ body: [UInt8], _ answered: HTTPFields, _ answer: JSONValue
  ) {
    if let bearer = headers["Authorization"] { TestSecrets.register(String(bearer.dropFirst("Bearer ".count))) }
    for field in answered where field.name == .setCookie {
      TestSecrets.register(
        field.value.split(separator: ";")[0].split(separator: "=").dropFirst().joined(separator: "="))
    }
    registerSecrets(of: (try? JSONValue.parse(body)) ?? .null)
    registerSecrets(of: answer)
  }

  /// Members are secret by their names.
  private static func registerSecrets(of value: JSONValue) {
    for (name, member) in value.objectValue ?? [:] {
      let isSecret = ["secret", "password", "current_password", "new_password", "token"].contains(name)
      if isSecret, let text = member.stringValue { TestSecrets.register(text) }
      registerSecrets(of: member)
    }
    for member in value.arrayValue ?? [] { registerSecrets(of: member) }
  }

  // MARK: What most tests begin with

  /// Announces an image and uploads a raw disk.
  @discardableResult
  func makeImage(_ name: String = "tiny", bytes: [UInt8] = [UInt8](repeating: 7, count: 1024)) async throws -> Answer {
    let created = await call(.post, "/v1/images", ["name": .string(name)])
    try #require(created.status == 201, "\(created)")
    let uploaded = await upload(bytes, to: name)
    try #require(uploaded.status == 200, "\(uploaded)")
    return uploaded
  }

  func upload(_ bytes: [UInt8], to image: String, headers: [String: String] = [:]) async -> Answer {
    var headers = headers
    headers["Authorization"] = headers["Authorization"] ?? "Bearer \(token)"
    headers["Content-Type"] = "application/octet-stream"
    return await send(.put, "/v1/images/\(image)/content", bytes: bytes, headers: headers)
  }

  /// Goes on with an upload.
  func append(
    _ bytes: some Sequence<UInt8>, to image: String, at offset: Int, isLast: Bool = false,
    headers: [String: String] = [:], on replica: ControlPlane? = nil
  ) async -> Answer {
    var headers = headers
    headers["Authorization"] = headers["Authorization"] ?? "Bearer \(token)"
    headers["Content-Type"] = "application/partial-upload"
    headers["Upload-Offset"] = "\(offset)"
    headers["Upload-Complete"] = isLast ? "?1" : "?0"
    return await send(
      .patch, "/v1/images/\(image)/content", bytes: Array(bytes), headers: headers, on: replica)
  }

  /// The smallest body of a create.
  static func body(_ name: String, _ more: (String, JSONValue)...) -> JSONValue {
    var object: JSONObject = ["name": .string(name), "image": "tiny", "vcpus": 1, "memory_mib": 128, "disk_gib": 1]
    for (key, value) in more { object[key] = value }
    return .object(object)
  }

  func createVM(_ name: String) async throws -> Accepted {
    try Accepted(await call(.post, "/v1/vms", Self.body(name)))
  }

  /// An operation as it is now.
  func operation(_ id: OperationID) async -> Answer { await call(.get, "/v1/operations/\(id)") }
}

/// SHA-256 in lower-case hexadecimal.
func hexadecimalHash(_ bytes: [UInt8]) -> String {
  SHA256.hash(data: bytes).map { byte in String(format: "%02x", byte) }.joined()
}
