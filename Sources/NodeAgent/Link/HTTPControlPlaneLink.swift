import AloftModel
import Execution
import HTTPClient
import HTTPTypes
import JSON
import Logging

/// The control plane over HTTPS with the node's client certificate.
///
/// Several URLs are tried in turn, beginning with the one that answered last: replicas are equal.
public final class HTTPControlPlaneLink: ControlPlaneLink {
  private let urls: [String]
  private let connections: Lock<HTTPClient>
  private let makeClient: @Sendable () -> HTTPClient
  private let logger: Logger
  /// Which URL answered last.
  private let current = Lock(0)

  /// - Parameters:
  ///   - urls: the control plane's base URLs, without a path; at least one.
  ///   - client: makes the client, now and with each ``reconnect()``.
  public init(urls: [String], client: @escaping @Sendable () -> HTTPClient, logger: Logger) {
    self.urls = urls.map { $0.hasSuffix("/") ? String($0.dropLast()) : $0 }
    makeClient = client
    connections = Lock(client())
    self.logger = logger
  }

  /// Makes new connections from now on: the certificate, or whom to trust, has changed. What is under way ends as it began.
  public func reconnect() {
    let client = makeClient()
    connections.withLock { $0 = client }
  }

  private var client: HTTPClient { connections.withLock { $0 } }

  /// The replica that answered last.
  var reached: (client: HTTPClient, url: String) { (client, urls[current.withLock { $0 }]) }

  func tryAnother() { current.withLock { $0 = ($0 + 1) % urls.count } }

  /// How long a call that is answered at once may take.
  static let patience = Duration.seconds(15)

  public func join(_ request: JoinRequest) async throws(AgentFailure) -> JoinAnswer {
    try await call(.post, "/agent/v1/join", request)
  }

  public func renew(_ request: RenewRequest) async throws(AgentFailure) -> JoinAnswer {
    try await call(.post, "/agent/v1/renew", request)
  }

  public func report(_ node: NodeReport) async throws(AgentFailure) -> LeaseAnswer {
    try await call(.put, "/agent/v1/node", node)
  }

  public func assignments(after revision: Int, waitSeconds: Int) async throws(AgentFailure)
    -> Assignments
  {
    let path = "/agent/v1/assignments?after=\(revision)&wait=\(waitSeconds)"
    return try await call(.get, path, body: [], patience: Self.patience + .seconds(waitSeconds))
  }

  public func post(_ report: ObservationReport) async throws(AgentFailure) -> LeaseAnswer {
    try await call(.post, "/agent/v1/observations", report)
  }

  public func download(
    _ image: Assignment.BaseImage, to descriptor: Int32,
    onBytes: @escaping @Sendable ([UInt8]) -> Void,
    progress: @escaping @Sendable (Int) -> Void
  ) async throws(AgentFailure) {
    // The hash has seen what was written: a second URL is tried by the next attempt, from the beginning.
    let url = urls[current.withLock { $0 }] + "/agent/v1/images/\(image.id)/content"
    let request = HTTPClientRequest(url: url, idleTimeout: .seconds(30))
    do throws(HTTPClientError) {
      let result = try await client.download(
        request, to: descriptor, maxBytes: Int64(image.sizeBytes),
        progress: { progress(Int($0.bytes)) },
        onBytes: onBytes)
      guard (200...299).contains(result.status) else {
        throw HTTPClientError(
          kind: .unexpectedStatus(result.status), origin: url, detail: "",
          responseBody: result.errorBody)
      }
    } catch {
      tryAnother()
      throw AgentFailure(downloading: image.id, error)
    }
  }

  public func send(
    _ stream: StreamRequest, start: Int,
    body: @escaping @Sendable (StreamWriter) async throws -> Void
  ) async throws(AgentFailure) {
    var headers: HTTPFields = [.contentType: "application/octet-stream"]
    if let name = HTTPField.Name("X-Log-Start") { headers[name] = String(start) }
    let request = HTTPClientRequest(
      method: .post, url: "\(stream.url)/agent/v1/streams/\(stream.id)", headers: headers,
      body: .produced(length: nil) { writer in
        try await body { bytes in try await writer.write(bytes) }
      })
    do throws(HTTPClientError) {
      let response = try await client.send(request, deadline: nil)
      guard (200...299).contains(response.status) else {
        throw HTTPClientError(
          kind: .unexpectedStatus(response.status), origin: stream.url, detail: "",
          responseBody: response.body)
      }
    } catch { throw AgentFailure(error) }
  }

  func call<Answer: Decodable>(
    _ method: HTTPRequest.Method, _ path: String, _ value: some Encodable & Sendable
  ) async throws(AgentFailure) -> Answer {
    let body: [UInt8]
    do { body = try JSONCoder.encode(value) } catch {
      throw AgentFailure(.controlPlaneRefused, "a request to \(path) cannot be written: \(error)")
    }
    return try await call(method, path, body: body, patience: Self.patience)
  }

  /// Tries each URL once.
  func call<Answer: Decodable>(
    _ method: HTTPRequest.Method, _ path: String, body: [UInt8], patience: Duration
  ) async throws(AgentFailure) -> Answer {
    let first = current.withLock { $0 }
    var failure = AgentFailure(.controlPlaneUnavailable, "there is no control plane URL")
    for offset in urls.indices {
      let index = (first + offset) % urls.count
      let headers: HTTPFields = body.isEmpty ? [:] : [.contentType: "application/json"]
      // Reports are numbered, and a join or renewal is known by its key: each may arrive twice.
      let request = HTTPClientRequest(
        method: method, url: urls[index] + path, headers: headers,
        body: body.isEmpty ? .none : .bytes(body), isIdempotent: true)
      do throws(HTTPClientError) {
        let response = try await client.send(request, deadline: patience)
        guard (200...299).contains(response.status) else {
          throw HTTPClientError(
            kind: .unexpectedStatus(response.status), origin: urls[index], detail: "",
            responseBody: response.body)
        }
        current.withLock { $0 = index }
        return try Self.decode(response.body, from: urls[index])
      } catch {
        failure = AgentFailure(error)
        guard failure.kind == .controlPlaneUnavailable, error.kind != .cancelled else {
          throw failure
        }
        if urls.count > 1 {
          logger.debug("trying another replica", metadata: ["failure": "\(failure)"])
        }
      }
    }
    throw failure
  }

  private static func decode<Answer: Decodable>(_ body: [UInt8], from url: String)
    throws(HTTPClientError) -> Answer
  {
    do { return try JSONCoder.decode(Answer.self, from: body) } catch {
      throw HTTPClientError(
        kind: .protocolError, origin: url, detail: "the answer cannot be read: \(error)")
    }
  }
}

extension AgentFailure {
  /// What a failed call means.
  init(_ error: HTTPClientError) {
    switch error.kind {
    case .unexpectedStatus(let status):
      let problem = try? JSONCoder.decode(Problem.self, from: error.responseBody)
      let said = problem.map { ": \($0.title): \($0.detail)" } ?? ""
      let passing = status >= 500 || status == 408 || status == 429
      self.init(
        passing ? .controlPlaneUnavailable : .controlPlaneRefused,
        "\(error.origin) answered \(status)\(said)")
    case .invalidRequest, .tls(.localCredentials):
      self.init(.controlPlaneRefused, error.description)
    default: self.init(.controlPlaneUnavailable, error.description)
    }
  }

  /// What a failed download means.
  init(downloading image: ImageID, _ error: HTTPClientError) {
    switch error.kind {
    case .file(let code):
      let failure = FileSystem.failure("writing", "image \(image)", errno: code)
      self.init(failure.kind, failure.detail)
    case .tooLarge:
      self.init(.imageCorrupt, "image \(image) is larger than promised: \(error.detail)")
    default: self.init(.imageUnavailable, "image \(image): \(AgentFailure(error).detail)")
    }
  }
}
