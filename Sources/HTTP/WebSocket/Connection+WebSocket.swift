import HTTPTypes
import Logging

/// What a connection remembers while it is a WebSocket.
struct WebSocketSession {
  typealias Received = Result<WebSocket.Message?, StreamError>

  /// Who waits for the next message.
  struct Receiver {
    let ticket: UInt64
    let continuation: CheckedContinuation<Received, Never>

    func resume(returning result: Received) { continuation.resume(returning: result) }
  }

  let exchange: UInt64
  var decoder: FrameDecoder
  private var inbox: [WebSocket.Message] = []
  private var inboxHead = 0
  /// What the messages that wait weigh. An empty one costs something too.
  private(set) var inboxBytes = 0
  var receiver: Receiver?
  /// Nothing more will come, and this is what receivers are told.
  var end: Received?
  var sentClose = false
  var lastHeard: Int64
  var pinged = false
  /// The server does not read, so it cannot hear whether the client is there.
  var isDeaf = false
  var closeDeadline = Int64.max

  init(exchange: UInt64, decoder: FrameDecoder, lastHeard: Int64) {
    self.exchange = exchange
    self.decoder = decoder
    self.lastHeard = lastHeard
  }

  mutating func push(_ message: WebSocket.Message) {
    inbox.append(message)
    inboxBytes += Self.weight(message)
  }

  mutating func pop() -> WebSocket.Message? {
    guard inboxHead < inbox.count else { return nil }
    let message = inbox[inboxHead]
    inbox[inboxHead] = .binary([])
    inboxHead += 1
    inboxBytes -= Self.weight(message)
    if inboxHead == inbox.count {
      inbox.removeAll(keepingCapacity: true)
      inboxHead = 0
    }
    return message
  }

  private static func weight(_ message: WebSocket.Message) -> Int {
    switch message {
    case .text(let text): text.utf8.count + 64
    case .binary(let bytes): bytes.count + 64
    }
  }
}

/// The WebSocket side of a connection (RFC 6455).
extension Connection {
  /// Switches protocols. False if the client did not ask for it in a way that can be granted; it is told.
  func beginWebSocket(_ response: Response, _ id: UInt64) -> Bool {
    guard let current = exchange, current.id == id, case .pending = current.response else { return false }
    guard case .valid(let key) = current.offer else {
      respond(upgradeRefusal(current.offer), to: id)
      return false
    }
    var head = response
    head.status = .switchingProtocols
    head.headers[.secWebSocketAccept] = WebSocketHandshake.accept(key)
    let date = loop.dateLine()
    emit { ResponseEncoder.encode(head, framing: .upgrade, persistence: .keepAlive, date: date, into: &$0) }
    loop.counters.countResponse(101)
    webSocket = WebSocketSession(
      exchange: id, decoder: FrameDecoder(maximumMessage: limits.webSocketMessage), lastHeard: loop.now)
    phase = .webSocket
    settle()
    return phase == .webSocket
  }

  private func upgradeRefusal(_ offer: WebSocketHandshake.Offer) -> Response {
    let status: HTTPResponse.Status
    switch offer {
    case .invalid, .notAlone: status = .badRequest
    case .absent, .unsupportedVersion, .valid: status = .upgradeRequired
    }
    let (type, bytes) = service.errorBody(status, "Open this address as a WebSocket, version 13 (RFC 6455).")
    var refusal = Response(status: status, contentType: type, body: bytes)
    refusal.headers[.secWebSocketVersion] = "13"
    if case .notAlone = offer { refusal.headers[.connection] = "close" }
    return refusal
  }

  var webSocketWantsInput: Bool {
    guard let webSocket, !closesAfterOutput else { return false }
    return webSocket.inboxBytes < limits.webSocketMessage && output.count < limits.outputBuffer
  }

  /// Decodes frames; returns how many bytes were taken.
  func processFrames(_ bytes: Span<UInt8>) -> Int {
    guard var session = webSocket else { return bytes.count }
    webSocket = nil
    defer { webSocket = session }
    session.lastHeard = loop.now
    session.pinged = false
    var position = 0
    do throws(FrameDecoder.Fault) {
      while !closesAfterOutput, session.inboxBytes < limits.webSocketMessage, output.count < limits.outputBuffer {
        guard let event = try session.decoder.next(bytes, &position) else { return position }
        take(event, &session)
      }
      return closesAfterOutput ? bytes.count : position
    } catch {
      writeClose(code: error.closeCode, reason: "", &session)
      finish(&session, .failure(.closed))
      closesAfterOutput = true
      lingers = true
      return bytes.count
    }
  }

  private func take(_ event: FrameDecoder.Event, _ session: inout WebSocketSession) {
    switch event {
    case .text(let text): deliver(.text(text), &session)
    case .binary(let bytes): deliver(.binary(bytes), &session)
    case .pong: break
    case .ping(let payload):
      if !session.sentClose { writeFrame(.pong, payload) }
    case .close(let code, _):
      writeClose(code: code ?? 1000, reason: "", &session)
      finish(&session, .success(nil))
      closesAfterOutput = true
    }
  }

  private func deliver(_ message: WebSocket.Message, _ session: inout WebSocketSession) {
    if session.end != nil { return }
    if let receiver = session.receiver {
      session.receiver = nil
      receiver.resume(returning: .success(message))
    } else {
      session.push(message)
    }
  }

  private func finish(_ session: inout WebSocketSession, _ end: WebSocketSession.Received) {
    if session.end == nil { session.end = end }
    session.receiver?.resume(returning: end)
    session.receiver = nil
  }

  private func writeFrame(_ kind: FrameEncoder.Kind, _ payload: [UInt8]) {
    emit { FrameEncoder.appendHeader(kind, length: payload.count, to: &$0) }
    output.append(payload)
  }

  private func writeClose(code: UInt16, reason: String, _ session: inout WebSocketSession) {
    guard !session.sentClose else { return }
    session.sentClose = true
    session.closeDeadline = loop.now + times.linger
    writeFrame(.close, FrameEncoder.closePayload(code: code, reason: reason))
  }

  // MARK: For the conversation

  func receiveMessage(_ id: UInt64, ticket: UInt64) async -> WebSocketSession.Received {
    if let known = messageNow(id) { return known }
    return await withCheckedContinuation { continuation in
      if let known = messageNow(id) {
        continuation.resume(returning: known)
      } else {
        webSocket?.receiver = WebSocketSession.Receiver(ticket: ticket, continuation: continuation)
      }
    }
  }

  /// What the receiver is told without waiting; nil if it has to wait.
  private func messageNow(_ id: UInt64) -> WebSocketSession.Received? {
    guard let session = webSocket, session.exchange == id else { return .failure(.closed) }
    if let message = webSocket?.pop() {
      settle()
      return .success(message)
    }
    if let end = session.end { return end }
    if phase == .closed || session.receiver != nil { return .failure(.closed) }
    if session.sentClose { return .success(nil) }
    return Task.isCancelled ? .failure(.cancelled) : nil
  }

  func cancelReceive(ticket: UInt64) {
    guard let receiver = webSocket?.receiver, receiver.ticket == ticket else { return }
    webSocket?.receiver = nil
    receiver.resume(returning: .failure(.cancelled))
  }

  func sendFrame(
    _ kind: FrameEncoder.Kind, _ payload: [UInt8], _ id: UInt64, ticket: UInt64
  ) async -> Result<Void, StreamError> {
    guard phase == .webSocket, let session = webSocket, session.exchange == id, !session.sentClose else {
      return .failure(.closed)
    }
    writeFrame(kind, payload)
    settle()
    return await roomForOutput(id, ticket: ticket)
  }

  func closeWebSocket(code: UInt16, reason: String, _ id: UInt64) {
    guard webSocket?.exchange == id else { return }
    sendClose(code: code, reason: reason)
    settle()
  }

  /// The conversation is over: close if nobody has.
  func finishWebSocket(code: UInt16, _ id: UInt64) {
    guard phase == .webSocket, webSocket?.exchange == id else { return }
    exchange?.task = nil
    sendClose(code: code, reason: "")
    settle()
  }

  func sendClose(code: UInt16, reason: String) {
    guard var session = webSocket else { return }
    webSocket = nil
    writeClose(code: code, reason: reason, &session)
    session.receiver?.resume(returning: .success(nil))
    session.receiver = nil
    webSocket = session
  }

  // MARK: For the connection

  func endWebSocketWaiters(_ end: WebSocketSession.Received) {
    guard var session = webSocket else { return }
    webSocket = nil
    finish(&session, end)
    webSocket = session
  }

  func webSocketPeerEnded() {
    endWebSocketWaiters(.failure(.closed))
    close()
  }

  /// The time for which the server did not read is not held against the client.
  func noteHearing() {
    if !webSocketWantsInput {
      webSocket?.isDeaf = true
    } else if webSocket?.isDeaf == true {
      webSocket?.isDeaf = false
      webSocket?.lastHeard = loop.now
      webSocket?.pinged = false
    }
  }

  var webSocketDeadline: Int64 {
    guard let webSocket else { return .max }
    if webSocket.isDeaf { return webSocket.closeDeadline }
    let interval = times.webSocketPing
    return min(webSocket.closeDeadline, webSocket.lastHeard + (webSocket.pinged ? 2 * interval : interval))
  }

  func webSocketDeadlineReached() {
    guard let session = webSocket, webSocketDeadline <= loop.now else { return }
    if session.pinged && !session.isDeaf || session.closeDeadline <= loop.now {
      if session.pinged { loop.counters.timeouts.add(1, ordering: .relaxed) }
      close()
    } else {
      webSocket?.pinged = true
      writeFrame(.ping, [])
    }
  }
}
