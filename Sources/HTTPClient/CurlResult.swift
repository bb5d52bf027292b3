import CCurl

/// Translates libcurl's result codes into this module's closed set.
enum CurlResult {
  static func kind(of code: CURLcode, message: String, verification: Int) -> HTTPClientError.Kind {
    switch code {
    case CURLE_UNSUPPORTED_PROTOCOL where message.contains("HTTP/0.9"): .protocolError
    case CURLE_URL_MALFORMAT, CURLE_UNSUPPORTED_PROTOCOL, CURLE_BAD_FUNCTION_ARGUMENT,
      CURLE_UNKNOWN_OPTION:
      // A redirect to a forbidden scheme ends with the same code as a bad URL, but only after a response.
      message.contains("redirect") || message.contains("not supported")
        ? .redirect : .invalidRequest
    case CURLE_TOO_MANY_REDIRECTS: .redirect
    case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY: .resolve
    case CURLE_COULDNT_CONNECT, CURLE_INTERFACE_FAILED: .connect
    case CURLE_OPERATION_TIMEDOUT: .timeout
    case CURLE_ABORTED_BY_CALLBACK, CURLE_WRITE_ERROR: .cancelled
    case CURLE_SSL_CONNECT_ERROR, CURLE_SSL_CIPHER, CURLE_PEER_FAILED_VERIFICATION,
      CURLE_SSL_ISSUER_ERROR,
      CURLE_SSL_CERTPROBLEM, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_CRL_BADFILE,
      CURLE_SSL_ENGINE_INITFAILED,
      CURLE_USE_SSL_FAILED, CURLE_SSL_INVALIDCERTSTATUS, CURLE_SSL_CLIENTCERT:
      .tls(tlsFailure(of: code, message: message, verification: verification))
    // With TLS 1.3 the server judges the client certificate after the client finished its handshake.
    case CURLE_RECV_ERROR where message.contains("alert"),
      CURLE_SEND_ERROR where message.contains("alert"):
      .tls(.clientCertificateRefused)
    case CURLE_SEND_ERROR, CURLE_SEND_FAIL_REWIND, CURLE_READ_ERROR: .sendFailed
    case CURLE_RECV_ERROR, CURLE_GOT_NOTHING, CURLE_PARTIAL_FILE: .connectionLost
    case CURLE_OUT_OF_MEMORY, CURLE_FAILED_INIT: .resources
    default: .protocolError
    }
  }

  private static func tlsFailure(
    of code: CURLcode, message: String, verification: Int
  ) -> HTTPClientError.TLSFailure {
    switch code {
    case CURLE_SSL_CERTPROBLEM, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_CRL_BADFILE:
      return .localCredentials
    case CURLE_PEER_FAILED_VERIFICATION:
      // libcurl compares the names itself, after OpenSSL was content with the chain.
      if message.contains("subject name") { return .hostMismatch }
      // Codes of X509_verify_cert (openssl-verification-options(1)).
      switch verification {
      case 9, 10: return .notValidNow
      case 62...64: return .hostMismatch
      default: return .untrustedCertificate
      }
    case CURLE_SSL_CONNECT_ERROR where message.contains("alert"):
      return message.contains("certificate") || message.contains("unknown ca")
        ? .clientCertificateRefused : .handshake
    default: return .handshake
    }
  }
}
