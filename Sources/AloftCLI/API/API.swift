import HTTPClient
import HTTPTypes
import JSON
import Logging

/// The API as commands use it: paths and JSON in, JSON or a ``CommandFailure`` out.
struct API: Sendable {
  let client: HTTPClient
  let address: ServerAddress
  let surroundings: Surroundings

  /// How long a plain call may take.
  static let deadline = Duration.seconds(60)
  /// How often a call whose connection is lost is sent, and how long it waits in between.
  static let attempts = 4
  static func pause(after attempt: Int) -> Duration { .milliseconds(200 << (attempt - 1)) }

  init(address: ServerAddress, surroundings: Surroundings, logger: Logger) {
    self.address = address
    self.surroundings = surroundings
    let configuration = HTTPClientConfiguration(
      trustRoots: address.trustRoots, userAgent: "aloft/\(AloftVersion.number)")
    client = HTTPClient(configuration: configuration, logger: logger)
  }

  /// Sends a call and returns its answer, which is a success.
  func send(_ call: APICall, deadline: Duration = API.deadline) async throws(CommandFailure) -> APIAnswer {
    try accept(try await raw(call, deadline: deadline), call)
  }

  /// Reads an answer that should be a success.
  func accept(_ response: HTTPClientResponse, _ call: APICall) throws(CommandFailure) -> APIAnswer {
    guard (200...299).contains(response.status) else {
      throw CommandFailure(
        status: response.status, body: response.body, requestID: response.headers[.requestID], path: call.path)
    }
    guard !response.body.isEmpty else {
      return APIAnswer(status: response.status, headers: response.headers, json: .null)
    }
    do throws(JSONParseError) {
      return APIAnswer(
        status: response.status, headers: response.headers, json: try JSONValue.parse(response.body))
    } catch {
      throw CommandFailure(
        .serverFault, "the server's answer is not JSON: \(error)",
        hint: "Is this the address of an Aloft server? See --url and ALOFT_URL.",
        requestID: response.headers[.requestID])
    }
  }

  /// Sends a call and returns the answer whatever its status is. A call that may be repeated is sent again, with the same
  /// key, when its connection is lost.
  func raw(
    _ call: APICall, content: [UInt8]? = nil, contentType: String? = nil, deadline: Duration = API.deadline
  ) async throws(CommandFailure) -> HTTPClientResponse {
    var request = self.request(call)
    if let content {
      request.body = .bytes(content)
      request.headers[.contentType] = contentType
    }
    var attempt = 1
    while true {
      do throws(HTTPClientError) {
        return try await client.send(request, deadline: deadline)
      } catch {
        guard call.mayBeRepeated, Self.isLoss(error, attempt), attempt < Self.attempts, !Task.isCancelled else {
          throw CommandFailure(error, changes: call.changes)
        }
        await surroundings.sleep(Self.pause(after: attempt))
        attempt += 1
      }
    }
  }

  /// The request of a call, for streams and uploads.
  func request(_ call: APICall) -> HTTPClientRequest {
    var headers = call.headers
    headers[.accept] = "application/json"
    if !address.token.isEmpty { headers[.authorization] = "Bearer \(address.token)" }
    var body = HTTPClientBody.none
    if let json = call.body {
      headers[.contentType] = "application/json"
      body = .bytes(json.bytes)
    }
    if let ifMatch = call.ifMatch { headers[.ifMatch] = ifMatch }
    if let key = call.key { headers[.idempotencyKey] = key }
    return HTTPClientRequest(
      method: call.method, url: address.url + call.path + APIPath.query(call.query), headers: headers, body: body)
  }

  /// A server that is not there at all is reported at once; one that went away in the middle may come back.
  private static func isLoss(_ error: HTTPClientError, _ attempt: Int) -> Bool {
    switch error.kind {
    case .connectionLost, .sendFailed: true
    case .connect: attempt > 1
    default: false
    }
  }
}
