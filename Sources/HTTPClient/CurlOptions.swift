import CCurl
import HTTPTypes

/// Sets options of an easy handle and remembers the first failure.
struct CurlOptions {
  let easy: UnsafeMutableRawPointer
  private(set) var result = CURLE_OK

  init(easy: UnsafeMutableRawPointer) { self.easy = easy }

  mutating func set(_ option: CURLoption, _ value: Int) {
    note(aloft_curl_set_long(easy, option, value))
  }
  mutating func set(_ option: CURLoption, _ value: String?) {
    note(aloft_curl_set_string(easy, option, value))
  }
  mutating func set(_ option: CURLoption, _ value: UnsafeMutableRawPointer?) {
    note(aloft_curl_set_pointer(easy, option, value))
  }

  private mutating func note(_ code: CURLcode) {
    if result == CURLE_OK { result = code }
  }

  // MARK: Connection

  mutating func setConnection(_ configuration: HTTPClientConfiguration, _ plan: Transfer.Plan) {
    let request = plan.request
    set(CURLOPT_URL, request.url)
    set(CURLOPT_PROTOCOLS_STR, "http,https")
    set(CURLOPT_HTTP_VERSION, aloft_curl_http_1_1())
    set(CURLOPT_PATH_AS_IS, 1)
    set(CURLOPT_NOSIGNAL, 1)
    set(CURLOPT_NOPROGRESS, 1)
    // Removing a transfer must not wait for a resolver thread that is stuck in getaddrinfo.
    set(CURLOPT_QUICK_EXIT, 1)
    set(CURLOPT_TCP_NODELAY, 1)
    set(CURLOPT_TCP_KEEPALIVE, 1)
    set(CURLOPT_TCP_KEEPIDLE, 30)
    set(CURLOPT_TCP_KEEPINTVL, 15)
    // Only speed depends on it, and a reused handle that still has its buffer refuses it.
    _ = aloft_curl_set_long(easy, CURLOPT_BUFFERSIZE, 128 << 10)
    set(CURLOPT_CONNECTTIMEOUT_MS, configuration.connectTimeout.wholeMilliseconds)
    // Without these two libcurl reads http_proxy and friends from the environment.
    set(CURLOPT_PROXY, configuration.proxy ?? "")
    set(CURLOPT_NOPROXY, configuration.proxy == nil ? "*" : "")
    if let path = request.unixSocket { set(CURLOPT_UNIX_SOCKET_PATH, path) }
    if Self.mayRedirect(request) {
      set(CURLOPT_FOLLOWLOCATION, 1)
      set(CURLOPT_MAXREDIRS, request.maxRedirects)
      set(CURLOPT_REDIR_PROTOCOLS_STR, plan.origin.scheme == "https" ? "https" : "http,https")
    }
  }

  static func mayRedirect(_ request: HTTPClientRequest) -> Bool {
    request.maxRedirects > 0 && (request.method == .get || request.method == .head)
  }

  // MARK: TLS

  mutating func setTLS(_ configuration: HTTPClientConfiguration) {
    set(CURLOPT_SSLVERSION, aloft_curl_tls_1_2())
    set(CURLOPT_SSL_VERIFYPEER, 1)
    set(CURLOPT_SSL_VERIFYHOST, 2)
    switch configuration.trustRoots {
    case .system: break
    case .file(let path):
      set(CURLOPT_CAINFO, path)
      // Debian's libcurl also trusts /etc/ssl/certs unless told otherwise.
      set(CURLOPT_CAPATH, nil as String?)
      set(CURLOPT_CA_CACHE_TIMEOUT, 60)
    case .pem(let text):
      let bytes = Array(text.utf8)
      note(
        bytes.withUnsafeBytes {
          aloft_curl_set_blob(easy, CURLOPT_CAINFO_BLOB, $0.baseAddress, $0.count)
        })
      set(CURLOPT_CAPATH, nil as String?)
    }
    if let certificate = configuration.clientCertificate {
      set(CURLOPT_SSLCERT, certificate.certificateFile)
      set(CURLOPT_SSLKEY, certificate.keyFile)
    }
  }

  // MARK: Request

  /// Returns the header list, which must live as long as the transfer.
  mutating func setRequest(
    _ configuration: HTTPClientConfiguration, _ plan: Transfer.Plan
  ) -> UnsafeMutablePointer<curl_slist>? {
    let request = plan.request
    var sendsBody = false
    switch (request.method, plan.body.source) {
    case (.get, .none): set(CURLOPT_HTTPGET, 1)
    case (.head, .none): set(CURLOPT_NOBODY, 1)
    case (.post, _), (.put, _), (.patch, _), (_, .memory), (_, .pipe): sendsBody = true
    case (_, .none): set(CURLOPT_CUSTOMREQUEST, request.method.rawValue)
    }
    if sendsBody {
      set(CURLOPT_UPLOAD, 1)
      set(CURLOPT_CUSTOMREQUEST, request.method.rawValue)
      note(
        aloft_curl_set_offset(easy, CURLOPT_INFILESIZE_LARGE, curl_off_t(plan.body.length ?? -1)))
      // With nothing to rewind libcurl would send it again without asking.
      if plan.body.length == 0, !request.mayBeSentAgain { set(CURLOPT_FRESH_CONNECT, 1) }
    }

    var list: UnsafeMutablePointer<curl_slist>?
    func add(_ line: String) { list = curl_slist_append(list, line) }
    for field in request.headers where !Self.ownFields.contains(field.name) {
      // "Name;" is libcurl's way to send an empty value; "Name:" would remove the field.
      add(field.value.isEmpty ? "\(field.name.rawName);" : "\(field.name.rawName): \(field.value)")
    }
    if request.headers[.userAgent] == nil { set(CURLOPT_USERAGENT, configuration.userAgent) }
    let isLarge = plan.body.length.map { $0 >= PreparedBody.expectThreshold } ?? true
    if sendsBody && !isLarge { add("Expect:") }
    set(CURLOPT_HTTPHEADER, UnsafeMutableRawPointer(list))
    return list
  }

  /// Fields that frame the message: a caller's value could contradict what is really sent.
  private static let ownFields: Set<HTTPField.Name> = [
    .contentLength, .transferEncoding, .connection, .expect, HTTPField.Name("Host"),
  ].reduce(into: []) { names, name in if let name { names.insert(name) } }

  // MARK: Callbacks

  mutating func setCallbacks(_ target: ActiveTransfer, errorBuffer: UnsafeMutablePointer<CChar>) {
    let pointer = Unmanaged.passUnretained(target).toOpaque()
    if target.outgoing != nil {
      set(CURLOPT_OPENSOCKETDATA, pointer)
      note(
        aloft_curl_set_open_socket(easy) { target, _, address in
          guard let target = ActiveTransfer.from(target), let address else { return -1 }
          return target.openSocket(for: address)
        })
    }
    set(CURLOPT_ERRORBUFFER, UnsafeMutableRawPointer(errorBuffer))
    set(CURLOPT_HEADERDATA, pointer)
    set(CURLOPT_WRITEDATA, pointer)
    set(CURLOPT_READDATA, pointer)
    set(CURLOPT_SEEKDATA, pointer)
    note(
      aloft_curl_set_data_callback(easy, CURLOPT_HEADERFUNCTION) { bytes, size, count, target in
        guard let target = ActiveTransfer.from(target) else { return 0 }
        return target.receivedHeaderLine(UnsafeRawBufferPointer(start: bytes, count: size * count))
          ? size * count : 0
      })
    note(
      aloft_curl_set_data_callback(easy, CURLOPT_WRITEFUNCTION) { bytes, size, count, target in
        guard let target = ActiveTransfer.from(target) else { return 0 }
        let taken = target.receivedBody(UnsafeRawBufferPointer(start: bytes, count: size * count))
        // Any other number than the one offered ends the transfer; for an empty run 0 would be that number.
        return taken < 0 ? size * count + 1 : taken
      })
    note(
      aloft_curl_set_data_callback(easy, CURLOPT_READFUNCTION) { bytes, size, count, target in
        guard let target = ActiveTransfer.from(target) else { return aloft_curl_read_abort() }
        return target.readBody(
          into: UnsafeMutableRawBufferPointer(start: bytes, count: size * count))
      })
    note(
      aloft_curl_set_seek_callback(easy) { target, offset, origin in
        guard origin == 0, let target = ActiveTransfer.from(target) else {
          return CURL_SEEKFUNC_CANTSEEK
        }
        return target.rewindBody(to: Int64(offset)) ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_CANTSEEK
      })
  }
}

extension ActiveTransfer {
  /// The object a callback was registered with; the loop keeps it alive while libcurl may call.
  fileprivate static func from(_ pointer: UnsafeMutableRawPointer?) -> ActiveTransfer? {
    pointer.map { Unmanaged<ActiveTransfer>.fromOpaque($0).takeUnretainedValue() }
  }
}

extension Duration {
  /// Milliseconds rounded up, at least 1 (libcurl reads 0 as "no limit") and at most what its timers hold.
  var wholeMilliseconds: Int {
    let (seconds, attoseconds) = components
    guard seconds < 2_000_000 else { return 2_000_000_000 }
    return max(
      1, Int(seconds) * 1000 + Int((attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000))
  }
}
