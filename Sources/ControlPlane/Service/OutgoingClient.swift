import IPAddressing
import Execution
import Foundation
import HTTPClient
import Logging

/// Where requests may go whose URL a tenant gave.
public struct OutgoingSettings: Sendable {
  /// What is allowed although it is no public address.
  public var allowed: [AddressBlock]
  /// Whether http is allowed beside https.
  public var allowsHTTP: Bool
  /// Whose signature makes a target's certificate trusted.
  public var trustRoots: HTTPClientConfiguration.TrustRoots
  /// For all of an exchange with a webhook's target, whatever that does.
  public var webhookDeadline = Duration.seconds(10)

  public init(
    allowed: [AddressBlock] = [], allowsHTTP: Bool = false, trustRoots: HTTPClientConfiguration.TrustRoots = .system
  ) {
    self.allowed = allowed
    self.allowsHTTP = allowsHTTP
    self.trustRoots = trustRoots
  }
}

/// The one client for URLs that tenants give. No other may be used for them.
///
/// Invariants:
/// - What is not allowed is refused where the connection is made (``OutgoingRule``), whatever a name resolved to before.
/// - No proxy, no credentials, no redirects, no Unix sockets.
final class OutgoingClient: Sendable {
  /// For name, TCP and TLS together.
  static let connectTimeout = Duration.seconds(5)
  /// What one host may hold up: requests beyond it wait, and their time runs.
  private static let connectionsPerHost = 32

  private let settings: OutgoingSettings
  private let logger: Logger
  /// Made when first needed: it has a thread of its own.
  private let client = Lock<HTTPClient?>(nil)

  init(_ settings: OutgoingSettings, logger: Logger) {
    self.settings = settings
    self.logger = logger
  }

  private var rule: OutgoingRule { OutgoingRule(allowed: settings.allowed) }

  /// Why a URL cannot be used, as far as can be seen without resolving its host.
  func refusal(of url: String) -> OutgoingURL.Refusal? {
    OutgoingURL.refusal(of: url, rule: rule, allowsHTTP: settings.allowsHTTP)
  }

  /// Sends a request whose URL was judged by ``refusal(of:)`` just now. Of the body of the answer at most `bodyPrefix` bytes
  /// are read.
  func send(
    _ request: HTTPClientRequest, deadline: Duration, bodyPrefix: Int
  ) async throws(HTTPClientError) -> HTTPClientResponse {
    try await made().send(request, deadline: deadline, bodyPrefix: bodyPrefix)
  }

  /// The same for a body of any length, which is read at the caller's pace. To where a redirect leads, the caller goes by asking
  /// again, as for any URL.
  func stream(_ request: HTTPClientRequest) async throws(HTTPClientError) -> HTTPClientStreamingResponse {
    try await made().stream(request)
  }

  private func made() -> HTTPClient {
    client.withLock { client in
      if let client { return client }
      let new = HTTPClient(
        configuration: HTTPClientConfiguration(
          trustRoots: settings.trustRoots, connectTimeout: Self.connectTimeout,
          maxConnectionsPerHost: Self.connectionsPerHost, userAgent: "Aloft", outgoing: rule),
        logger: logger)
      client = new
      return new
    }
  }
}
