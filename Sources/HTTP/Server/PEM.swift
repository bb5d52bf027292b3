import COpenSSL

/// Reads certificates and keys with OpenSSL.
enum PEM {
  /// A certificate that OpenSSL counts references to.
  final class X509Certificate {
    let x509: OpaquePointer
    fileprivate init(_ x509: OpaquePointer) { self.x509 = x509 }
    deinit { X509_free(x509) }
  }

  /// All certificates, in order; what else the text holds is passed over.
  static func certificates(_ source: PEMSource) throws(ServerError) -> [X509Certificate] {
    let bio = try open(source)
    defer { BIO_free(bio) }
    ERR_clear_error()
    var found: [X509Certificate] = []
    while let x509 = PEM_read_bio_X509(bio, nil, nil, nil) { found.append(X509Certificate(x509)) }
    // The end shows as "no start line"; anything else is a certificate that cannot be read.
    guard aloft_pem_at_end() == 1 else { throw .tls(file: source.place, reason: TLSContext.reason()) }
    ERR_clear_error()
    return found
  }

  /// The caller frees it.
  static func privateKey(_ source: PEMSource) throws(ServerError) -> OpaquePointer {
    let bio = try open(source)
    defer { BIO_free(bio) }
    ERR_clear_error()
    // An empty password: an encrypted key is an error and no question at a terminal.
    var none: [CChar] = [0]
    guard let key = PEM_read_bio_PrivateKey(bio, nil, nil, &none) else {
      throw .tls(file: source.place, reason: TLSContext.reason())
    }
    return key
  }

  private static func open(_ source: PEMSource) throws(ServerError) -> OpaquePointer {
    ERR_clear_error()
    let bio: OpaquePointer?
    switch source {
    case .file(let path): bio = BIO_new_file(path, "r")
    case .text(let text):
      // Copied: what BIO_new_mem_buf makes would look into memory that is Swift's to move.
      bio = BIO_new(BIO_s_mem())
      let bytes = Array(text.utf8)
      if let bio, BIO_write(bio, bytes, Int32(bytes.count)) != Int32(bytes.count) {
        BIO_free(bio)
        throw .tls(file: source.place, reason: TLSContext.reason())
      }
    }
    guard let bio else { throw .tls(file: source.place, reason: TLSContext.reason()) }
    return bio
  }
}
