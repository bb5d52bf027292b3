import COpenSSL
import Execution

/// An `SSL_CTX` made from files. Connections keep theirs, so a reload changes new connections only.
///
/// Unchecked: OpenSSL counts references to a context atomically and allows `SSL_new` on it from any thread; it is not
/// changed after `init`.
final class TLSContext: @unchecked Sendable {
  private let context: OpaquePointer

  init(_ configuration: TLSConfiguration) throws(ServerError) {
    ERR_clear_error()
    guard let context = SSL_CTX_new(TLS_server_method()) else { throw .tls(file: "OpenSSL", reason: Self.reason()) }
    self.context = context
    guard aloft_ssl_ctx_set_min_tls12(context) == 1,
      SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1
    else { throw .tls(file: "OpenSSL", reason: Self.reason()) }
    aloft_ssl_ctx_set_event_loop_modes(context)
    aloft_ssl_ctx_select_http11(context)
    aloft_ssl_ctx_set_server_options(context)
    try useChain(configuration.certificateChain)
    try useKey(configuration.privateKey)
    try check(SSL_CTX_check_private_key(context), configuration.privateKey)
    try setClientVerification(configuration)
  }

  deinit { SSL_CTX_free(context) }

  /// A new server-side connection over `socket`.
  func makeConnection(socket: Int32) -> OpaquePointer? {
    ERR_clear_error()
    guard let ssl = SSL_new(context) else { return nil }
    guard SSL_set_fd(ssl, socket) == 1 else {
      SSL_free(ssl)
      return nil
    }
    SSL_set_accept_state(ssl)
    return ssl
  }

  private func setClientVerification(_ configuration: TLSConfiguration) throws(ServerError) {
    if configuration.clientCertificate == .none { return }
    guard let source = configuration.clientAuthorities else {
      throw .tls(file: "clientAuthorities", reason: "client certificates cannot be verified without them")
    }
    let authorities = try PEM.certificates(source)
    guard !authorities.isEmpty else { throw .tls(file: source.place, reason: "it holds no certificate") }
    let store = SSL_CTX_get_cert_store(context)
    for authority in authorities {
      try check(X509_STORE_add_cert(store, authority.x509), source)
      // The names that a client is told: which of its certificates to show.
      try check(SSL_CTX_add_client_CA(context, authority.x509), source)
    }
    var mode = SSL_VERIFY_PEER
    if configuration.clientCertificate == .required { mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT }
    SSL_CTX_set_verify(context, mode, nil)
    // A resumed session would let in a certificate that has expired since.
    aloft_ssl_ctx_disable_sessions(context)
    var id = Array("http".utf8)
    SSL_CTX_set_session_id_context(context, &id, UInt32(id.count))
  }

  /// The first certificate is the server's own; the others are sent with it.
  private func useChain(_ source: PEMSource) throws(ServerError) {
    let chain = try PEM.certificates(source)
    guard let own = chain.first else { throw .tls(file: source.place, reason: "it holds no certificate") }
    try check(SSL_CTX_use_certificate(context, own.x509), source)
    for other in chain.dropFirst() {
      try check(Int32(aloft_ssl_ctx_add1_chain_cert(context, other.x509)), source)
    }
  }

  private func useKey(_ source: PEMSource) throws(ServerError) {
    let key = try PEM.privateKey(source)
    defer { EVP_PKEY_free(key) }
    try check(SSL_CTX_use_PrivateKey(context, key), source)
  }

  private func check(_ result: Int32, _ source: PEMSource) throws(ServerError) {
    if result != 1 { throw .tls(file: source.place, reason: Self.reason()) }
  }

  /// The oldest error of this thread's queue; empties the queue.
  static func reason() -> String {
    let code = ERR_get_error()
    ERR_clear_error()
    guard code != 0 else { return "no reason given" }
    var text = [CChar](repeating: 0, count: 256)
    ERR_error_string_n(code, &text, text.count)
    return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}

/// The TLS context that a listener uses now.
final class TLSStore: Sendable {
  private let state: Lock<(configuration: TLSConfiguration, context: TLSContext)>

  init(_ configuration: TLSConfiguration) throws(ServerError) {
    state = Lock((configuration, try TLSContext(configuration)))
  }

  var current: TLSContext { state.withLock { $0.context } }

  /// Reads the files again. On an error the old context stays in use.
  func reload() throws(ServerError) {
    let configuration = state.withLock { $0.configuration }
    use(configuration, try TLSContext(configuration))
  }

  func use(_ configuration: TLSConfiguration, _ context: TLSContext) {
    state.withLock { $0 = (configuration, context) }
  }
}
