import Foundation
import HTTPClient
import HTTPTypes
import Logging

/// Signed requests to one bucket, tried again while that may help.
struct S3Client: Sendable {
  let configuration: S3Configuration
  let environment: StoreEnvironment
  let logger: Logger
  private let http: HTTPClient
  private let signature: SignatureV4
  private let scheme: String
  private let host: String
  private let root: String

  init(
    _ configuration: S3Configuration, _ credentials: S3Credentials, _ http: HTTPClient, _ environment: StoreEnvironment,
    _ logger: Logger
  ) throws(ObjectStoreError) {
    (scheme, host, root) = try configuration.address()
    self.configuration = configuration
    self.environment = environment
    self.logger = logger
    self.http = http
    signature = SignatureV4(credentials: credentials, region: configuration.region)
  }

  /// One call of the S3 interface.
  struct Call: Sendable {
    /// For logs and errors.
    var name: String
    var method: HTTPRequest.Method
    /// Nil: the bucket itself.
    var key: String?
    var query: [(name: String, value: String)] = []
    var headers: [(name: String, value: String)] = []
    var body: [UInt8] = []
  }

  /// Sends a call until it succeeds (2xx), or fails in a way that another attempt does not mend.
  func send(_ call: Call) async throws(ObjectStoreError) -> HTTPClientResponse {
    let request = signable(call)
    return try await retrying(call.name) { () async throws(ObjectStoreError) -> Attempt<HTTPClientResponse> in
      do throws(HTTPClientError) {
        let response = try await http.send(signed(call, request), deadline: configuration.requestTimeout)
        if (200...299).contains(response.status) { return .success(response) }
        return S3Failure(status: response.status, body: response.body).attempt(of: call)
      } catch { return try Self.attempt(of: error) }
    }
  }

  /// The same for a body that is read at the caller's pace.
  func stream(_ call: Call) async throws(ObjectStoreError) -> HTTPClientStreamingResponse {
    let request = signable(call)
    return try await retrying(call.name) { () async throws(ObjectStoreError) -> Attempt<HTTPClientStreamingResponse> in
      do throws(HTTPClientError) {
        let response = try await http.stream(signed(call, request))
        if (200...299).contains(response.status) { return .success(response) }
        var body: [UInt8] = []
        for try await bytes in response.body where body.count < 64 << 10 { body += bytes }
        return S3Failure(status: response.status, body: body).attempt(of: call)
      } catch { return try Self.attempt(of: error) }
    }
  }

  // MARK: Attempts

  /// What one attempt came to.
  enum Attempt<Value: Sendable>: Sendable {
    case success(Value)
    /// Another attempt may help.
    case again(String)
    case failure(ObjectStoreError)
  }

  func retrying<Value: Sendable>(
    _ name: String, _ body: @Sendable () async throws(ObjectStoreError) -> Attempt<Value>
  ) async throws(ObjectStoreError) -> Value {
    var number = 1
    while true {
      switch try await body() {
      case .success(let value): return value
      case .failure(let error): throw error
      case .again(let reason):
        guard number < configuration.attempts else {
          throw .unavailable("\(name) failed \(number) times, at last because \(reason)")
        }
        number += 1
        try await pause(before: number, name, reason)
      }
    }
  }

  func pause(before attempt: Int, _ name: String, _ reason: String) async throws(ObjectStoreError) {
    let backoff = Backoff(first: configuration.firstPause, max: configuration.maxPause)
    let pause = backoff.pause(before: attempt, random: environment.random())
    logger.debug(
      "S3 request is tried again",
      metadata: ["request": "\(name)", "attempt": "\(attempt)", "pause": "\(pause)", "reason": "\(reason)"])
    do { try await environment.sleep(pause) } catch { throw .cancelled }
  }

  static func attempt<Value>(of error: HTTPClientError) throws(ObjectStoreError) -> Attempt<Value> {
    switch error.kind {
    case .cancelled: throw .cancelled
    case .invalidRequest: throw .misconfigured("\(error)")
    case .tls, .forbiddenAddress, .closed: throw .unavailable("\(error)")
    case .protocolError, .tooLarge, .redirect, .unexpectedStatus: throw .protocolViolation("\(error)")
    case .resolve, .connect, .timeout, .sendFailed, .connectionLost, .file, .bodySource, .resources:
      return .again("\(error)")
    }
  }

  // MARK: Requests

  private static let contentType = (name: "content-type", value: "application/octet-stream")

  private func signable(_ call: Call) -> SignatureV4.Request {
    let key = call.key.map { "/" + SignatureV4.encode(configuration.keyPrefix + $0, keepsSlash: true) } ?? ""
    let path = root + key
    // Said for every body, or libcurl says that it is a form.
    let type = call.body.isEmpty ? [] : [Self.contentType]
    return SignatureV4.Request(
      method: call.method.rawValue, path: path.isEmpty ? "/" : path, query: call.query,
      headers: call.headers + type + [("host", host)], payloadHash: RunningHash.hexadecimal(of: call.body))
  }

  /// Signed anew for each attempt: signatures are good for a quarter of an hour.
  private func signed(_ call: Call, _ request: SignatureV4.Request) -> HTTPClientRequest {
    var headers = HTTPFields()
    // `Host` is the client's business; it sends what was signed.
    let fields = request.headers.filter { $0.name != "host" } + signature.fields(for: request, at: environment.now())
    for (name, value) in fields {
      if let name = HTTPField.Name(name) { headers[name] = value }
    }
    let query = SignatureV4.canonicalQuery(call.query)
    return HTTPClientRequest(
      method: call.method, url: "\(scheme)://\(host)\(request.path)\(query.isEmpty ? "" : "?" + query)",
      headers: headers,
      body: call.body.isEmpty ? .none : .bytes(call.body), idleTimeout: configuration.idleTimeout, isIdempotent: true)
  }
}
