import COpenSSL

/// How a client proves who it is, and whom it believes. The files are PEM and are read for every connection, so new ones are
/// used from the next reconnect on.
public struct TLSCredentials: Sendable, Hashable {
  /// The client's certificate, and those between it and its authority.
  public var certificateChain: String
  public var privateKey: String
  /// The authorities that may have signed the server's certificate.
  public var authorities: String
  /// The name that the server's certificate must be for. Nil: any certificate of the authorities will do, as for OVSDB's
  /// own tools, whose certificates name no hosts.
  public var serverName: String?

  public init(certificateChain: String, privateKey: String, authorities: String, serverName: String? = nil) {
    self.certificateChain = certificateChain
    self.privateKey = privateKey
    self.authorities = authorities
    self.serverName = serverName
  }

  /// A client-side TLS session over the socket. The caller frees it.
  func makeSession(socket: Int32) throws(ConnectionEnd) -> OpaquePointer {
    ERR_clear_error()
    guard let context = SSL_CTX_new(TLS_client_method()) else { throw Self.failure("OpenSSL") }
    // The session keeps its own reference.
    defer { SSL_CTX_free(context) }
    guard aloft_ssl_ctx_set_min_tls12(context) == 1 else { throw Self.failure("OpenSSL") }
    aloft_ssl_ctx_set_event_loop_modes(context)
    guard SSL_CTX_use_certificate_chain_file(context, certificateChain) == 1 else {
      throw Self.failure(certificateChain)
    }
    guard SSL_CTX_use_PrivateKey_file(context, privateKey, SSL_FILETYPE_PEM) == 1 else {
      throw Self.failure(privateKey)
    }
    guard SSL_CTX_load_verify_locations(context, authorities, nil) == 1 else { throw Self.failure(authorities) }
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nil)
    guard let session = SSL_new(context) else { throw Self.failure("OpenSSL") }
    guard SSL_set_fd(session, socket) == 1, serverName.map({ SSL_set1_host(session, $0) == 1 }) ?? true else {
      SSL_free(session)
      throw Self.failure("OpenSSL")
    }
    SSL_set_connect_state(session)
    return session
  }

  private static func failure(_ file: String) -> ConnectionEnd { ConnectionEnd("\(file): \(TLSReason.take())") }
}

enum TLSReason {
  /// The oldest error of this thread's queue; empties the queue.
  static func take() -> String {
    let code = ERR_get_error()
    ERR_clear_error()
    guard code != 0 else { return "no reason given" }
    var text = [CChar](repeating: 0, count: 256)
    ERR_error_string_n(code, &text, text.count)
    return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// Why the server's certificate was not believed, if that is what failed.
  static func ofHandshake(_ session: OpaquePointer) -> String {
    let result = SSL_get_verify_result(session)
    guard result != Int(X509_V_OK), let text = X509_verify_cert_error_string(result) else { return take() }
    ERR_clear_error()
    return "the server's certificate: \(String(cString: text))"
  }
}
