import COpenSSL
import Glibc

/// A non-blocking socket, plain or under TLS.
///
/// OpenSSL keeps errors in a queue per thread: it is emptied before each call, or an old entry would be taken for the
/// outcome of the new one. After a fatal error no further call is made on the session.
struct Transport {
  enum ReadResult {
    case bytes(Int)
    case wouldBlock
    /// The peer has sent all it wanted to send.
    case end
    case failed
  }

  enum WriteResult {
    case written(Int)
    case wouldBlock
    case failed
  }

  enum HandshakeResult { case done, wouldBlock, failed }

  let socket: Int32
  private let ssl: OpaquePointer?
  private var broken = false
  /// A TLS read that must write first (key update), so the loop has to wait for room.
  private(set) var readNeedsWrite = false
  /// A TLS write that must read first.
  private(set) var writeNeedsRead = false

  init(socket: Int32, ssl: OpaquePointer?) {
    self.socket = socket
    self.ssl = ssl
  }

  var isTLS: Bool { ssl != nil }

  /// Whether a read would yield bytes that no socket event announces any more.
  var holdsInput: Bool {
    guard let ssl, !broken else { return false }
    return SSL_has_pending(ssl) == 1
  }

  /// Bytes that were written and that the peer's kernel has not acknowledged.
  var unacknowledgedBytes: Int {
    var count: Int32 = 0
    // SIOCOUTQ, which has the value of TIOCOUTQ, by whose name Swift knows it.
    return ioctl(socket, UInt(TIOCOUTQ), &count) == 0 ? Int(count) : 0
  }

  mutating func handshake() -> HandshakeResult {
    guard let ssl else { return .done }
    readNeedsWrite = false
    ERR_clear_error()
    let result = SSL_do_handshake(ssl)
    if result == 1 { return .done }
    switch SSL_get_error(ssl, result) {
    case SSL_ERROR_WANT_READ: return .wouldBlock
    case SSL_ERROR_WANT_WRITE:
      readNeedsWrite = true
      return .wouldBlock
    default:
      broken = true
      return .failed
    }
  }

  mutating func read(into buffer: UnsafeMutableBufferPointer<UInt8>) -> ReadResult {
    guard let ssl else {
      while true {
        let count = recv(socket, buffer.baseAddress, buffer.count, 0)
        if count > 0 { return .bytes(count) }
        if count == 0 { return .end }
        if errno == EINTR { continue }
        return errno == EAGAIN || errno == EWOULDBLOCK ? .wouldBlock : .failed
      }
    }
    if broken { return .failed }
    readNeedsWrite = false
    ERR_clear_error()
    let count = SSL_read(ssl, buffer.baseAddress, Int32(clamping: buffer.count))
    if count > 0 { return .bytes(Int(count)) }
    switch SSL_get_error(ssl, count) {
    case SSL_ERROR_WANT_READ: return .wouldBlock
    case SSL_ERROR_WANT_WRITE:
      readNeedsWrite = true
      return .wouldBlock
    case SSL_ERROR_ZERO_RETURN: return .end
    default:
      broken = true
      return .failed
    }
  }

  /// Writes from `first` and then `second`, in one system call where the transport allows it.
  mutating func write(_ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer) -> WriteResult {
    guard let ssl else { return writePlain(first, second) }
    if broken { return .failed }
    writeNeedsRead = false
    ERR_clear_error()
    let count = SSL_write(ssl, first.baseAddress, Int32(clamping: first.count))
    if count > 0 { return .written(Int(count)) }
    switch SSL_get_error(ssl, count) {
    case SSL_ERROR_WANT_WRITE: return .wouldBlock
    case SSL_ERROR_WANT_READ:
      writeNeedsRead = true
      return .wouldBlock
    default:
      broken = true
      return .failed
    }
  }

  private func writePlain(_ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer) -> WriteResult {
    while true {
      let count: Int
      if second.isEmpty {
        count = send(socket, first.baseAddress, first.count, Int32(MSG_NOSIGNAL))
      } else {
        // SIGPIPE is blocked on the loops' threads.
        count = withUnsafeTemporaryAllocation(of: iovec.self, capacity: 2) { parts in
          parts[0] = iovec(iov_base: UnsafeMutableRawPointer(mutating: first.baseAddress), iov_len: first.count)
          parts[1] = iovec(iov_base: UnsafeMutableRawPointer(mutating: second.baseAddress), iov_len: second.count)
          return writev(socket, parts.baseAddress, 2)
        }
      }
      if count >= 0 { return .written(count) }
      if errno == EINTR { continue }
      return errno == EAGAIN || errno == EWOULDBLOCK ? .wouldBlock : .failed
    }
  }

  /// The client's certificate in DER, if it presented one and the chain was verified.
  var verifiedPeerCertificate: [UInt8]? {
    guard let ssl, let certificate = SSL_get1_peer_certificate(ssl) else { return nil }
    defer { X509_free(certificate) }
    guard SSL_get_verify_mode(ssl) & SSL_VERIFY_PEER != 0, SSL_get_verify_result(ssl) == X509_V_OK else { return nil }
    let length = i2d_X509(certificate, nil)
    guard length > 0 else { return nil }
    var bytes = [UInt8](repeating: 0, count: Int(length))
    let written = bytes.withUnsafeMutableBufferPointer { buffer in
      var cursor = buffer.baseAddress
      return i2d_X509(certificate, &cursor)
    }
    return written == length ? bytes : nil
  }

  /// Tells the peer that nothing more will be sent; what it still sends can be read.
  mutating func shutdownOutput() {
    if let ssl, !broken {
      ERR_clear_error()
      if SSL_shutdown(ssl) < 0 { broken = true }
      ERR_clear_error()
    }
    shutdown(socket, Int32(SHUT_WR))
  }

  /// Closes the socket. With `politely`, TLS says goodbye first, if there is room for it.
  mutating func close(politely: Bool) {
    if let ssl {
      if politely, !broken, SSL_in_init(ssl) == 0 {
        ERR_clear_error()
        _ = SSL_shutdown(ssl)
      }
      SSL_free(ssl)
      ERR_clear_error()
    }
    Glibc.close(socket)
  }
}
