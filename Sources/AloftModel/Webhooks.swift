/// How far a delivery is.
public enum WebhookDeliveryState: String, Sendable, Codable, CaseIterable { case pending, delivered, failed }

/// Why a webhook is not enabled.
public enum WebhookDisabling: String, Sendable, Codable, CaseIterable {
  /// Somebody turned it off.
  case user
  /// Nothing could be delivered for long.
  case failing
  /// The target answered 410: it wants no more.
  case gone
}

/// Why an attempt to deliver failed: a closed list.
public enum WebhookFailure: String, Sendable, Codable, CaseIterable {
  /// The URL is one that the operator does not allow (any more).
  case urlRefused = "url_refused"
  /// The host leads to an address that the operator does not allow.
  case addressRefused = "address_refused"
  case nameUnresolved = "name_unresolved"
  case connectFailed = "connect_failed"
  case tlsFailed = "tls_failed"
  case timedOut = "timed_out"
  case connectionLost = "connection_lost"
  /// What came back is no HTTP, or has too large a head.
  case protocolError = "protocol_error"
  /// A redirect was answered; none is followed.
  case redirected
  /// Another status than 2xx was answered.
  case statusRefused = "status_refused"
  /// The webhook's secret cannot be read: the operator's sealing key is another one.
  case secretUnreadable = "secret_unreadable"
  /// Its time was over before another attempt could be made.
  case expired
  /// Aloft itself could not send.
  case `internal`
}
