import CLinux
import COpenSSL
import Execution
import Glibc

/// A client that sends exactly the bytes it is given. It blocks, so it lives on a thread of its own.
actor TestClient {
  enum Failure: Error {
    case connect(Int32), send(Int32), receive(Int32), tls(String), unexpectedEnd([UInt8]), timeout([UInt8])
  }

  struct TLS: Sendable {
    var authority: String
    var certificate: String?
    var key: String?
    var version: Int32?
  }

  private nonisolated let thread = DedicatedThread(name: "test-client")
  nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }
  private var descriptor: Int32 = -1
  // Unsafe only in the view of the compiler: the actor's thread alone uses them, and nobody is left at the end.
  private nonisolated(unsafe) var context: OpaquePointer?
  private nonisolated(unsafe) var session: OpaquePointer?
  private var buffer: [UInt8] = []
  private var rest: [UInt8] = []
  private var receiveBuffer: Int32?

  private init() {}

  deinit {
    if let session { SSL_free(session) }
    if let context { SSL_CTX_free(context) }
    if descriptor >= 0 { close(descriptor) }
  }

  /// With `receiveBuffer`, the kernel holds about that many bytes for this client and no more.
  static func connect(
    port: Int, host: String = "127.0.0.1", tls: TLS? = nil, receiveBuffer: Int32? = nil
  ) async throws -> TestClient {
    let client = TestClient()
    await client.setReceiveBuffer(receiveBuffer)
    try await client.open(port: port, host: host)
    if let tls { try await client.handshake(tls) }
    return client
  }

  static func connect(unix path: String) async throws -> TestClient {
    let client = TestClient()
    try await client.open(unix: path)
    return client
  }

  private func setReceiveBuffer(_ size: Int32?) { receiveBuffer = size }

  private func open(port: Int, host: String) throws {
    if host.contains(":") {
      var address = sockaddr_in6()
      address.sin6_family = sa_family_t(AF_INET6)
      address.sin6_port = UInt16(port).bigEndian
      inet_pton(AF_INET6, host, &address.sin6_addr)
      try open(AF_INET6, address)
    } else {
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_port = UInt16(port).bigEndian
      inet_pton(AF_INET, host, &address.sin_addr)
      try open(AF_INET, address)
    }
  }

  private func open(unix path: String) throws {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
    try open(AF_UNIX, address)
  }

  private func open<Address>(_ family: Int32, _ address: Address) throws {
    descriptor = socket(family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    var limit = timeval(tv_sec: 20, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    if var receiveBuffer {
      setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &receiveBuffer, socklen_t(MemoryLayout<Int32>.size))
    }
    let result = withUnsafePointer(to: address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<Address>.size))
      }
    }
    if result != 0 { throw Failure.connect(errno) }
  }

  func handshake(_ tls: TLS) throws {
    ERR_clear_error()
    guard let context = SSL_CTX_new(TLS_client_method()) else { throw Failure.tls("context") }
    self.context = context
    SSL_CTX_load_verify_locations(context, tls.authority, nil)
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nil)
    if let certificate = tls.certificate, let key = tls.key {
      SSL_CTX_use_certificate_chain_file(context, certificate)
      SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM)
    }
    if tls.version == TLS1_2_VERSION { SSL_CTX_set_options(context, 1 << 29) }
    guard let session = SSL_new(context) else { throw Failure.tls("session") }
    self.session = session
    SSL_set_fd(session, descriptor)
    if SSL_connect(session) != 1 { throw Failure.tls(Self.reason()) }
  }

  private static func reason() -> String {
    var text = [CChar](repeating: 0, count: 256)
    ERR_error_string_n(ERR_get_error(), &text, text.count)
    return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// The subject of the server's certificate.
  func serverSubject() -> String {
    guard let session, let certificate = SSL_get1_peer_certificate(session) else { return "" }
    defer { X509_free(certificate) }
    var text = [CChar](repeating: 0, count: 256)
    X509_NAME_oneline(X509_get_subject_name(certificate), &text, 256)
    return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  func send(_ text: String) throws { try send(Array(text.utf8)) }

  func send(_ bytes: [UInt8]) throws {
    var offset = 0
    while offset < bytes.count {
      let count = bytes[offset...].withUnsafeBytes { piece in
        if let session { return Int(SSL_write(session, piece.baseAddress, Int32(piece.count))) }
        return Glibc.send(descriptor, piece.baseAddress, piece.count, Int32(MSG_NOSIGNAL))
      }
      if count <= 0 { throw Failure.send(errno) }
      offset += count
    }
  }

  /// Encrypts `text` but sends only the first half of it; the rest goes with ``sendRest()``.
  func sendHalf(of text: String) throws {
    guard let session, let memory = BIO_new(BIO_s_mem()) else { throw Failure.tls("not under TLS") }
    SSL_set0_wbio(session, memory)
    _ = Array(text.utf8).withUnsafeBytes { SSL_write(session, $0.baseAddress, Int32($0.count)) }
    rest = [UInt8](repeating: 0, count: 16 << 10)
    let count = Int(BIO_read(memory, &rest, Int32(rest.count)))
    rest.removeLast(rest.count - count)
    SSL_set0_wbio(session, BIO_new_socket(descriptor, BIO_NOCLOSE))
    sendRaw(Array(rest[..<(count / 2)]))
    rest.removeFirst(count / 2)
  }

  func sendRest() { sendRaw(rest) }

  private func sendRaw(_ bytes: [UInt8]) {
    _ = bytes.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
  }

  /// Changes this side's keys with the next write and asks the server to change its own (RFC 8446, 4.6.3).
  func updateKeys() -> Bool { session.map { SSL_key_update($0, SSL_KEY_UPDATE_REQUESTED) == 1 } ?? false }

  /// Tries to shake hands once more (TLS 1.2). Returns whether the server did.
  func renegotiates() -> Bool {
    guard let session, SSL_renegotiate(session) == 1 else { return false }
    return SSL_do_handshake(session) == 1 && SSL_renegotiate_pending(session) == 0
  }

  /// Says that nothing more will be sent, and goes on reading.
  func finishSending() {
    if let session { SSL_shutdown(session) } else { shutdown(descriptor, Int32(SHUT_WR)) }
  }

  func disconnect() {
    shutdown(descriptor, Int32(SHUT_RDWR))
    close(descriptor)
    descriptor = -1
  }

  /// Reads once. False at the end of the stream.
  private func fill() throws -> Bool {
    var piece = [UInt8](repeating: 0, count: 65_536)
    let capacity = piece.count
    ERR_clear_error()
    let count = piece.withUnsafeMutableBytes { room in
      if let session { return Int(SSL_read(session, room.baseAddress, Int32(capacity))) }
      return recv(descriptor, room.baseAddress, capacity, 0)
    }
    if count > 0 {
      buffer += piece[..<count]
      return true
    }
    if count == 0 || errno == ECONNRESET { return false }
    if session != nil {
      let reason = Self.reason()
      if reason.contains("alert") { throw Failure.tls(reason) }
      return false
    }
    if errno == EAGAIN { throw Failure.timeout(buffer) }
    throw Failure.receive(errno)
  }

  func read(_ count: Int) throws -> [UInt8] {
    while buffer.count < count { guard try fill() else { throw Failure.unexpectedEnd(buffer) } }
    defer { buffer.removeFirst(count) }
    return Array(buffer[..<count])
  }

  /// Everything up to and including `mark`.
  func read(upTo mark: String) throws -> String {
    let mark = Array(mark.utf8)
    var from = 0
    while true {
      if let end = buffer.firstRange(of: mark, from: from) {
        defer { buffer.removeFirst(end) }
        return String(decoding: buffer[..<end], as: UTF8.self)
      }
      from = max(0, buffer.count - mark.count)
      guard try fill() else { throw Failure.unexpectedEnd(buffer) }
    }
  }

  /// Takes at most `most` bytes from the kernel, without reading ahead, and drops them. Returns how many; 0 at the end.
  func discard(_ most: Int) throws -> Int {
    if !buffer.isEmpty {
      let count = min(most, buffer.count)
      buffer.removeFirst(count)
      return count
    }
    var piece = [UInt8](repeating: 0, count: most)
    let count = recv(descriptor, &piece, most, 0)
    if count < 0 { throw Failure.receive(errno) }
    return count
  }

  /// Takes `pieces` of bytes with a pause between, in microseconds. On the client's own thread, so that it is not slowed down
  /// by whatever else runs on Swift's pool.
  func discardSlowly(pieces: Int, of size: Int, pause: UInt32) throws -> Int {
    var total = 0
    for _ in 0..<pieces {
      total += try discard(size)
      usleep(pause)
    }
    return total
  }

  /// Reads `bytes` and sends `answer`, again and again. On the client's own thread, where it is in time. Returns whether only
  /// `bytes` came.
  func answer(_ bytes: [UInt8], with answer: [UInt8], times: Int) throws -> Bool {
    for _ in 0..<times {
      guard try read(bytes.count) == bytes else { return false }
      try send(answer)
    }
    return true
  }

  /// Everything until the server closes.
  func readToEnd() throws -> [UInt8] {
    while try fill() {}
    defer { buffer = [] }
    return buffer
  }

  /// One response. `toHead` is whether it answers a HEAD request.
  func response(toHead: Bool = false) throws -> TestResponse {
    let head = try read(upTo: "\r\n\r\n")
    var response = TestResponse(head: head)
    if toHead || response.status == 204 || response.status == 304 || response.status < 200 { return response }
    if response.fields["transfer-encoding"] == "chunked" {
      while true {
        let line = try read(upTo: "\r\n")
        // CR LF is one Character.
        guard let size = Int(line.dropLast(), radix: 16) else { throw Failure.unexpectedEnd(Array(line.utf8)) }
        response.chunks.append(try read(size))
        _ = try read(2)
        if size == 0 { break }
      }
      response.body = Array(response.chunks.joined())
    } else if let length = response.fields["content-length"].flatMap({ Int($0) }) {
      response.body = try read(length)
    } else {
      response.body = try readToEnd()
    }
    return response
  }

  func request(_ text: String) throws -> TestResponse {
    try send(text)
    return try response()
  }

  /// Whether the server has closed, waiting for it.
  func isClosedByServer() throws -> Bool {
    let more = try fill()
    return !more && buffer.isEmpty
  }
}

struct TestResponse: Sendable {
  var status: Int
  var reason: String
  var fields: [String: String] = [:]
  var body: [UInt8] = []
  var chunks: [[UInt8]] = []

  var text: String { String(decoding: body, as: UTF8.self) }

  init(head: String) {
    let lines = head.split(separator: "\r\n")
    let parts = (lines.first ?? "").split(separator: " ", maxSplits: 2)
    status = parts.count > 1 ? Int(parts[1]) ?? 0 : 0
    reason = parts.count > 2 ? String(parts[2]) : ""
    for line in lines.dropFirst() {
      guard let colon = line.firstIndex(of: ":") else { continue }
      fields[line[..<colon].lowercased()] = String(line[line.index(after: colon)...].drop { $0 == " " })
    }
  }
}

extension [UInt8] {
  fileprivate func firstRange(of mark: [UInt8], from: Int) -> Int? {
    var index = from
    while index + mark.count <= count {
      if self[index..<index + mark.count].elementsEqual(mark) { return index + mark.count }
      index += 1
    }
    return nil
  }
}
