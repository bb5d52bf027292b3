import AloftModel
import Foundation
import HTTP
import HTTPTypes
import JSON
import Postgres

/// One call of an operation of the contract: validated, authenticated, about to be handled.
struct Call: Sendable {
  let operationID: String
  var parameters: [String: JSONValue] = [:]
  /// Nil when none was sent; an empty object stands for it where everything in it may be absent.
  var body: JSONValue?
  var bodyBytes: [UInt8] = []
  let request: Request
  let requestID: String
  var principal = Principal.anonymous
  /// What the principal had to show; a call that goes on for long shows it again, for the project that it has found.
  var requirement: Authorizer.Requirement?

  /// On whose behalf an operation is carried out that this call begins.
  var author: OperationStore.Author { .init(actor: principal.name, requestID: requestID) }

  func string(_ name: String) -> String? { parameters[name]?.stringValue }
  func int(_ name: String) -> Int? { parameters[name]?.intValue }
  func bool(_ name: String) -> Bool { parameters[name]?.boolValue ?? false }
  func strings(_ name: String) -> [String] { parameters[name]?.arrayValue?.compactMap(\.stringValue) ?? [] }

  /// The project that the call is about, by id or name: the one for which access was decided.
  var project: String { principal.projectReference(requirement?.project) }

  /// Whether everything but the commit is wanted.
  var isDryRun: Bool { bool("dry_run") }

  /// The body as a Swift type. The contract has checked it, so a failure is a bug of ours.
  func decode<Value: Decodable>(_ type: Value.Type = Value.self) throws -> Value {
    try JSONCoder.decode(Value.self, from: body ?? .object(JSONObject()))
  }

  /// `Prefer: wait=N` (RFC 7240): how long to wait for the operation's end; nil when not asked for.
  var preferredWait: Duration? {
    guard let preferences = string("Prefer") else { return nil }
    for preference in preferences.split(separator: ",") {
      let parts = preference.split(separator: "=", maxSplits: 1).map { $0.trimmingCharacters(in: .whitespaces) }
      if parts.count == 2, parts[0].lowercased() == "wait", let seconds = Int(parts[1]), seconds > 0 {
        return .seconds(min(seconds, 60))
      }
    }
    return nil
  }

  /// Refuses with 412 when the call is meant for another version (RFC 9110 13.1.1). Weak tags never match.
  func requireMatch(_ etag: String) throws {
    guard let wanted = string("If-Match") else { return }
    let tags = wanted.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
    if tags.contains("*") || tags.contains(etag) { return }
    throw Problem(.preconditionFailed, "the resource is now \(etag), not \(wanted); read it again and decide anew")
  }

  /// Refuses with 412 when the call is meant for any version of what does not exist, which `why` says.
  func requireNoMatch(_ why: String) throws {
    guard let wanted = string("If-Match") else { return }
    throw Problem(.preconditionFailed, "\(why), so there is no \(wanted); read it again and decide anew")
  }
}

/// What a handler answers.
struct Reply: Sendable {
  var status: HTTPResponse.Status = .ok
  var headers: HTTPFields = [:]
  var contentType: String?
  var body: ResponseBody = .none
  /// It is the answer of an earlier call with the same key.
  var isRepeated = false

  /// A JSON answer.
  static func json(_ value: some JSONWritable, status: HTTPResponse.Status = .ok, etag: String? = nil) -> Reply {
    var reply = Reply(status: status, contentType: "application/json", body: .bytes(value.jsonBytes))
    if let etag { reply.headers[.eTag] = etag }
    return reply
  }

  /// 204.
  static let noContent = Reply(status: .noContent)

  var response: HTTP.Response {
    var headers = headers
    if let contentType { headers[.contentType] = contentType }
    return HTTP.Response(status: status, headers: headers, body: body)
  }
}

/// Handles one operation of the contract.
typealias Handler = @Sendable (Call) async throws -> Reply

/// The handlers by the contract's operation ids.
struct HandlerTable {
  private(set) var handlers: [String: Handler] = [:]

  mutating func on(_ operationID: String, _ handler: @escaping Handler) {
    handlers[operationID] = handler
  }
}
