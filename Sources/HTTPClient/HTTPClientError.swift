/// Why a request did not end with a response.
public struct HTTPClientError: Error, Sendable, Equatable, CustomStringConvertible {
  /// What went wrong, as a closed set that a caller can decide on (retry, give up, ask for another certificate).
  public enum Kind: Sendable, Equatable {
    /// The request itself cannot be sent: its URL or one of its options is not valid. Retrying does not help.
    case invalidRequest
    /// The host's name has no address.
    case resolve
    /// No connection: refused, unreachable, or not answered within the connect timeout.
    case connect
    /// The client may not connect to an address of the host, and no other answered; nil: it is no IP address.
    case forbiddenAddress(OutgoingRule.Refusal?)
    /// The TLS handshake failed.
    case tls(TLSFailure)
    /// The deadline passed, or no byte moved for the idle timeout.
    case timeout
    /// The task that waited was cancelled, or the streamed body was dropped unread.
    case cancelled
    /// The peer does not speak HTTP/1.1 as RFC 9112 asks, or answered something that was not asked for.
    case protocolError
    /// The response is larger than the caller's limit.
    case tooLarge
    /// The connection broke while the request was being sent.
    case sendFailed
    /// The connection broke before the response was complete.
    case connectionLost
    /// More redirects than the request allows, or one to a scheme it does not allow.
    case redirect
    /// The local file could not be read or written; `errno` says why (0: the file is shorter than was said).
    case file(errno: Int32)
    /// The caller's upload stream threw.
    case bodySource
    /// The response is a whole one but has another status than the call can use.
    case unexpectedStatus(Int)
    /// ``HTTPClient/close()`` was called.
    case closed
    /// libcurl is out of memory or descriptors.
    case resources
  }

  /// What about TLS failed.
  public enum TLSFailure: Sendable, Equatable {
    /// The server's certificate is not signed by an authority this client trusts.
    case untrustedCertificate
    /// The server's certificate is not for the host of the URL.
    case hostMismatch
    /// The server's certificate is expired or not valid yet.
    case notValidNow
    /// The server wants a client certificate, or refused the one it got. (With TLS 1.3 a server that resets the
    /// connection right after its alert may be seen as `sendFailed` or `connectionLost` instead.)
    case clientCertificateRefused
    /// This client's certificate, key or CA file cannot be used.
    case localCredentials
    /// Another handshake failure (no common version or cipher, or the peer does not speak TLS).
    case handshake
  }

  /// What went wrong.
  public let kind: Kind
  /// Scheme, host and port of the URL: `https://10.0.0.1:8443`. Never its path or query, which may carry secrets.
  public let origin: String
  /// More words, from libcurl or from this module. They carry no header, no body and no path of the URL.
  public let detail: String
  /// The body of the response for ``Kind/unexpectedStatus(_:)`` (its first 64 KiB); empty otherwise.
  public let responseBody: [UInt8]

  /// Makes an error.
  public init(kind: Kind, origin: String, detail: String, responseBody: [UInt8] = []) {
    self.kind = kind
    self.origin = origin
    self.detail = detail
    self.responseBody = responseBody
  }

  /// One line for humans: what, where, and why.
  public var description: String {
    detail.isEmpty ? "\(origin): \(kind.summary)" : "\(origin): \(kind.summary): \(detail)"
  }

  /// Whether the request certainly never reached the server's application, so that sending it again is safe even when
  /// it is not idempotent.
  public var happenedBeforeSending: Bool {
    switch kind {
    case .invalidRequest, .resolve, .connect, .forbiddenAddress: true
    // With TLS 1.3 a refused client certificate is only learned after the request was written, but the peer that
    // refused the handshake never read it.
    case .tls: true
    case .timeout, .cancelled, .protocolError, .tooLarge, .sendFailed, .connectionLost, .redirect,
      .file, .bodySource,
      .unexpectedStatus, .closed, .resources:
      false
    }
  }
}

extension HTTPClientError.Kind {
  var summary: String {
    switch self {
    case .invalidRequest: "the request is not valid"
    case .resolve: "the host name could not be resolved"
    case .connect: "could not connect"
    case .forbiddenAddress(let refusal):
      refusal.map { "the host's address is not allowed (\($0.summary))" } ?? "only IP addresses are allowed"
    case .tls(let failure): failure.summary
    case .timeout: "timed out"
    case .cancelled: "cancelled"
    case .protocolError: "the server broke the protocol"
    case .tooLarge: "the response is too large"
    case .sendFailed: "the connection broke while sending"
    case .connectionLost: "the connection was lost before the response was complete"
    case .redirect: "the redirect was not followed"
    case .file(let errno):
      errno == 0 ? "the local file is too short" : "the local file failed with errno \(errno)"
    case .bodySource: "the request body's source failed"
    case .unexpectedStatus(let status): "unexpected status \(status)"
    case .closed: "the client is closed"
    case .resources: "out of memory or descriptors"
    }
  }
}

extension HTTPClientError.TLSFailure {
  var summary: String {
    switch self {
    case .untrustedCertificate: "TLS: the server's certificate is not signed by a trusted authority"
    case .hostMismatch: "TLS: the server's certificate is for another host"
    case .notValidNow: "TLS: the server's certificate is expired or not valid yet"
    case .clientCertificateRefused: "TLS: the server asks for a client certificate that it accepts"
    case .localCredentials: "TLS: this client's certificate, key or CA cannot be used"
    case .handshake: "TLS: the handshake failed"
    }
  }
}
