import COpenSSL
import Glibc

/// A non-blocking connection, plain or under TLS; closed when the last reference goes. Belongs to one thread.
///
/// OpenSSL keeps errors in a queue per thread, so it is emptied before each call. After a fatal error no further call is
/// made on the session, because the connection ends.
final class Transport {
  enum Progress {
    case bytes(Int)
    case wouldBlock
  }

  let descriptor: Int32
  private var session: OpaquePointer?
  /// What TLS waits for while it cannot go on; for a plain socket what the call itself says.
  private(set) var needsWrite = false

  init(descriptor: Int32) { self.descriptor = descriptor }

  deinit {
    if let session { SSL_free(session) }
    close(descriptor)
  }

  func beginTLS(_ credentials: TLSCredentials) throws(ConnectionEnd) {
    session = try credentials.makeSession(socket: descriptor)
  }

  /// False: the socket must be ready first, for writing if `needsWrite`, else for reading.
  func handshake() throws(ConnectionEnd) -> Bool {
    guard let session else { return true }
    ERR_clear_error()
    let result = SSL_do_handshake(session)
    if result == 1 { return true }
    guard waits(session, result) else {
      throw ConnectionEnd("the TLS handshake failed: \(TLSReason.ofHandshake(session))")
    }
    return false
  }

  func read(into buffer: inout [UInt8]) throws(ConnectionEnd) -> Progress {
    guard let session else {
      while true {
        let count = recv(descriptor, &buffer, buffer.count, 0)
        if count > 0 { return .bytes(count) }
        if count == 0 { throw ConnectionEnd("the server closed the connection") }
        if errno == EINTR { continue }
        if errno == EAGAIN { return .wouldBlock }
        throw .system("the connection broke")
      }
    }
    ERR_clear_error()
    let count = SSL_read(session, &buffer, Int32(clamping: buffer.count))
    if count > 0 { return .bytes(Int(count)) }
    if waits(session, count) { return .wouldBlock }
    if SSL_get_error(session, count) == SSL_ERROR_ZERO_RETURN {
      throw ConnectionEnd("the server closed the connection")
    }
    throw ConnectionEnd("the connection broke: \(TLSReason.take())")
  }

  func write(_ bytes: ArraySlice<UInt8>) throws(ConnectionEnd) -> Progress {
    let (written, code): (Int, Int32) = bytes.withUnsafeBytes { raw in
      if let session {
        ERR_clear_error()
        return (Int(SSL_write(session, raw.baseAddress, Int32(clamping: raw.count))), 0)
      }
      let count = send(descriptor, raw.baseAddress, raw.count, Int32(MSG_NOSIGNAL))
      return (count, errno)
    }
    if written > 0 { return .bytes(written) }
    if let session {
      if waits(session, Int32(written)) { return .wouldBlock }
      throw ConnectionEnd("the connection broke: \(TLSReason.take())")
    }
    if code == EAGAIN || code == EINTR { return .wouldBlock }
    throw .system("the connection broke", code)
  }

  private func waits(_ session: OpaquePointer, _ result: Int32) -> Bool {
    switch SSL_get_error(session, result) {
    case SSL_ERROR_WANT_READ:
      needsWrite = false
      return true
    case SSL_ERROR_WANT_WRITE:
      needsWrite = true
      return true
    default: return false
    }
  }
}
