import HTTPTypes
import JSON

/// One request to the API.
struct APICall: Sendable {
  var method: HTTPRequest.Method
  /// Encoded, from the root: `/v1/vms/hello`.
  var path: String
  var query: [(String, String)]
  var body: JSONValue?
  /// Sent as `If-Match`.
  var ifMatch: String?
  /// Sent as `Idempotency-Key`; every POST has one.
  var key: String?
  /// Other header fields.
  var headers: HTTPFields = [:]

  init(
    _ method: HTTPRequest.Method, _ path: String, query: [(String, String)] = [], body: JSONValue? = nil,
    ifMatch: String? = nil, key: String? = nil
  ) {
    self.method = method
    self.path = path
    self.query = query
    self.body = body
    self.ifMatch = ifMatch
    self.key = key
  }

  /// Whether sending it a second time does no more than sending it once.
  var mayBeRepeated: Bool { method == .get || method == .head || key != nil }

  var changes: Bool { method != .get && method != .head }
}

/// An answer of the API that is a success.
struct APIAnswer: Sendable {
  var status: Int
  var headers: HTTPFields
  var json: JSONValue
}

extension HTTPField.Name {
  static let idempotencyKey = constant("Idempotency-Key")
  static let requestID = constant("X-Request-Id")
  static let lastEventID = constant("Last-Event-ID")
  static let uploadOffset = constant("Upload-Offset")
  static let uploadComplete = constant("Upload-Complete")
  static let logStart = constant("X-Log-Start")

  private static func constant(_ name: String) -> HTTPField.Name {
    // Every name here is a valid token; `accept` would only ever stand in for one that is not.
    HTTPField.Name(name) ?? .accept
  }
}
