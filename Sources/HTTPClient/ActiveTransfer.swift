import IPAddressing
import CCurl
import Glibc
import HTTPTypes

/// A transfer while libcurl works on it: its easy handle and what the C callbacks need. Used by the loop's thread only.
final class ActiveTransfer {
  let easy: UnsafeMutableRawPointer
  let transfer: Transfer
  /// What a callback stopped the transfer for; says more than the code libcurl then reports.
  var failure: HTTPClientError.Kind?
  var head = ResponseHeadParser()
  /// Where this transfer may connect to; nil: anywhere.
  private(set) var outgoing: OutgoingRule?
  private var refusedAddress: HTTPClientError.Kind?
  /// How much of an in-memory body libcurl has taken.
  var memoryTaken = 0
  private let started: ContinuousClock.Instant
  private var lastMoved: ContinuousClock.Instant
  private var readerHolds = false
  private var isCut = false
  private var headDelivered = false
  private var headerList: UnsafeMutablePointer<curl_slist>?
  private let message: UnsafeMutablePointer<CChar>

  init(easy: UnsafeMutableRawPointer, transfer: Transfer) {
    self.easy = easy
    self.transfer = transfer
    started = .now
    lastMoved = started
    message = .allocate(capacity: Int(CURL_ERROR_SIZE))
    message.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
  }

  deinit {
    curl_slist_free_all(headerList)
    message.deallocate()
  }

  /// Sets all options of the easy handle. They point into this object, which therefore must outlive the transfer.
  func configure(_ configuration: HTTPClientConfiguration) -> CURLcode {
    var options = CurlOptions(easy: easy)
    outgoing = configuration.outgoing
    options.setConnection(configuration, transfer.plan)
    options.setTLS(configuration)
    headerList = options.setRequest(configuration, transfer.plan)
    options.setCallbacks(self, errorBuffer: message)
    return options.result
  }

  // MARK: Time

  /// When this transfer is out of time, as things stand, and why. libcurl's own limits are not used: its deadline does
  /// not count while a transfer waits for a connection, and its idle limit is an average over several seconds.
  var timeLimit: (end: ContinuousClock.Instant, reason: String)? {
    let plan = transfer.plan
    let deadline = plan.deadline.map { (started + $0, "no complete response within \($0)") }
    guard let idle = plan.request.idleTimeout, !readerHolds else { return deadline }
    let silence = (lastMoved + idle, "no byte moved for \(idle)")
    guard let deadline, deadline.0 < silence.0 else { return silence }
    return deadline
  }

  func resumes() {
    readerHolds = false
    lastMoved = .now
  }

  // MARK: What the callbacks do

  /// Makes the socket for one address of the host, if connections may go there: there is no other way to a connection, and
  /// between this look and connect(2) nothing can change. -1: libcurl goes on to the host's next address.
  func openSocket(for address: UnsafeMutablePointer<curl_sockaddr>) -> curl_socket_t {
    if let outgoing {
      let raw = UnsafeRawBufferPointer(start: aloft_curl_address(address), count: Int(address.pointee.addrlen))
      guard let target = IPAddress(socketAddress: raw) else {
        refusedAddress = .forbiddenAddress(nil)
        return -1
      }
      if let refusal = outgoing.refusal(of: target) {
        refusedAddress = .forbiddenAddress(refusal)
        return -1
      }
    }
    return socket(
      address.pointee.family, address.pointee.socktype | Int32(SOCK_CLOEXEC.rawValue), address.pointee.protocol)
  }

  func receivedHeaderLine(_ line: UnsafeRawBufferPointer) -> Bool {
    // Trailers come after the body: the head is delivered then and stays as it is.
    lastMoved = .now
    guard !headDelivered else {
      guard head.passOver(line) else {
        failure = .tooLarge
        return false
      }
      return true
    }
    switch head.feed(line) {
    case .more: return true
    case .complete:
      // A redirect that is followed is not the response; should it be the last, `outcome` delivers it.
      if !head.isFollowedRedirect(maxRedirects: followedRedirects) { deliverHead() }
      return true
    case .tooLarge:
      failure = .tooLarge
      return false
    case .malformed:
      failure = .protocolError
      return false
    }
  }

  func receivedBody(_ bytes: UnsafeRawBufferPointer) -> Int {
    lastMoved = .now
    deliverHead()
    switch transfer.accept(bytes) {
    case .taken: return bytes.count
    case .paused:
      readerHolds = true
      return aloft_curl_write_pause()
    case .tooLarge:
      failure = .tooLarge
      return -1
    case .cut:
      isCut = true
      return -1
    case .over: return -1
    }
  }

  func readBody(into target: UnsafeMutableRawBufferPointer) -> Int {
    switch transfer.plan.body.source {
    case .none: return 0
    case .memory(let bytes):
      let count = min(target.count, bytes.count - memoryTaken)
      bytes.withUnsafeBytes { source in
        target.copyMemory(
          from: UnsafeRawBufferPointer(rebasing: source[memoryTaken..<memoryTaken + count]))
      }
      memoryTaken += count
      lastMoved = .now
      transfer.sent(Int64(count))
      return count
    case .pipe(let pipe):
      switch pipe.read(into: target) {
      case .bytes(let count):
        lastMoved = .now
        transfer.sent(Int64(count))
        return count
      case .wait: return aloft_curl_read_pause()
      case .end: return 0
      case .failed: return aloft_curl_read_abort()
      }
    }
  }

  /// libcurl sends a body again when a kept-alive connection ends without an answer, whether or not the server has had
  /// the request; only memory can be read twice.
  func rewindBody(to offset: Int64) -> Bool {
    guard transfer.plan.request.mayBeSentAgain, case .memory(let bytes) = transfer.plan.body.source, offset >= 0,
      offset <= bytes.count
    else { return false }
    memoryTaken = Int(offset)
    return true
  }

  private var followedRedirects: Int {
    CurlOptions.mayRedirect(transfer.plan.request) ? transfer.plan.request.maxRedirects : 0
  }

  private func deliverHead() {
    guard !headDelivered, let found = head.head else { return }
    headDelivered = true
    transfer.setHead(found)
  }

  // MARK: The end

  func outcome(of code: CURLcode) -> Result<Void, HTTPClientError> {
    if code == CURLE_OK || isCut {
      deliverHead()
      return .success(())
    }
    if case .pipe(let pipe) = transfer.plan.body.source, let failed = pipe.failure {
      return .failure(transfer.error(failed.kind, failed.detail))
    }
    let text = String(cString: message)
    if let failure { return .failure(transfer.error(failure, failureDetail(failure))) }
    var verification = 0
    _ = aloft_curl_get_long(easy, CURLINFO_SSL_VERIFYRESULT, &verification)
    let kind = CurlResult.kind(of: code, message: text, verification: verification)
    // What libcurl says then names the address, which is nobody's business.
    if kind == .connect, let refusedAddress { return .failure(transfer.error(refusedAddress)) }
    return .failure(
      transfer.error(kind, text.isEmpty ? String(cString: curl_easy_strerror(code)) : text))
  }

  private func failureDetail(_ kind: HTTPClientError.Kind) -> String {
    guard kind == .tooLarge else { return "malformed header" }
    return headDelivered
      ? "the body has more than \(transfer.plan.bufferLimit) bytes"
      : "the header has more than \(ResponseHeadParser.limit) bytes"
  }
}
