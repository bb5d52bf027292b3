import HTTPTypes
import Logging

/// Responses: from a handler's answer to bytes in the output.
extension Connection {
  /// Sends a response that is complete.
  func respond(_ response: Response, to id: UInt64) {
    guard var current = exchange, current.id == id, case .pending = current.response else { return }
    exchange = nil
    writeAnswer(response, to: &current)
    if !current.isOver { exchange = current }
    settle()
  }

  /// Puts a response that is complete into the output.
  func writeAnswer(_ response: Response, to current: inout Exchange) {
    writeHead(response, to: &current)
    if case .bytes(let bytes) = response.body, !current.isHead, response.status.allowsBody { output.append(bytes) }
    finishResponse(&current)
  }

  /// Sends the head of a stream. False if there is nobody to stream to, or nothing to stream.
  func beginStream(_ response: Response, length: Int64?, of id: UInt64) -> Bool {
    guard var current = exchange, current.id == id, case .pending = current.response else { return false }
    writeHead(response, to: &current)
    let streams = !current.isHead && response.status.allowsBody
    if streams {
      current.response = .streaming(remaining: length, chunked: length == nil && !current.isHTTP10)
      exchange = current
    } else {
      exchange = nil
      finishResponse(&current)
      if !current.isOver { exchange = current }
    }
    settle()
    return streams && phase == .requests
  }

  /// Sends a piece of a stream; returns when there is room for more.
  func write(_ bytes: [UInt8], to id: UInt64, ticket: UInt64) async -> Result<Void, StreamError> {
    guard let exchange, exchange.id == id, phase == .requests,
      case .streaming(let remaining, let chunked) = exchange.response
    else { return .failure(.closed) }
    if bytes.isEmpty { return .success(()) }
    if let remaining {
      guard remaining >= Int64(bytes.count) else { return .failure(.lengthExceeded) }
      self.exchange?.response = .streaming(remaining: remaining - Int64(bytes.count), chunked: chunked)
    }
    if chunked {
      emit {
        $0.append(hex: bytes.count)
        $0.append(utf8: "\r\n")
      }
    }
    output.append(bytes)
    if chunked { emit { $0.append(utf8: "\r\n") } }
    settle()
    return await roomForOutput(id, ticket: ticket)
  }

  /// Suspends until the client has read enough.
  func roomForOutput(_ id: UInt64, ticket: UInt64) async -> Result<Void, StreamError> {
    if let known = roomNow { return known }
    return await withCheckedContinuation { continuation in
      if let known = roomNow {
        continuation.resume(returning: known)
      } else {
        writers.append(Writer(ticket: ticket, continuation: continuation))
      }
    }
  }

  /// What a writer is told without waiting; nil if it has to wait.
  private var roomNow: Result<Void, StreamError>? {
    if phase == .closed { return .failure(.closed) }
    if output.count < limits.outputBuffer { return .success(()) }
    return Task.isCancelled ? .failure(.cancelled) : nil
  }

  func cancelWrite(ticket: UInt64) {
    guard let index = writers.firstIndex(where: { $0.ticket == ticket }) else { return }
    writers.remove(at: index).continuation.resume(returning: .failure(.cancelled))
  }

  /// Ends a stream: by its last chunk, or by cutting the connection if it is not whole.
  func endStream(of id: UInt64, failed: Bool) {
    guard var current = exchange, current.id == id,
      case .streaming(let remaining, let chunked) = current.response
    else { return }
    if remaining.map({ $0 > 0 }) ?? failed {
      if !failed { service.logger.error("a response was shorter than its declared length") }
      close(politely: false)
      return
    }
    if chunked { emit { $0.append(utf8: "0\r\n\r\n") } }
    exchange = nil
    finishResponse(&current)
    if !current.isOver { exchange = current }
    settle()
  }

  /// Writes a response of the server itself, after which the connection ends.
  func writeFinal(_ response: Response) {
    emit { _ in }
    let date = loop.dateLine()
    guard case .bytes(let bytes) = response.body else { return }
    emit {
      ResponseEncoder.encode(
        response, framing: .length(Int64(bytes.count)), persistence: .close, date: date, into: &$0)
    }
    output.append(bytes)
    loop.counters.countResponse(response.status.code)
    closesAfterOutput = true
    lingers = true
  }

  private func writeHead(_ given: Response, to current: inout Exchange) {
    var response = given
    if response.status.code < 200 {
      service.logger.error("a handler answered with an interim status", metadata: ["status": "\(response.status.code)"])
      response = Response(status: .internalServerError)
    }
    if service.isDraining || peerEnded || response.asksToClose { current.keepAlive = false }
    if !current.decoder.isComplete, !canDrain(current) { current.keepAlive = false }
    let framing = framing(of: response, for: &current)
    let persistence: ResponseEncoder.Persistence =
      !current.keepAlive ? .close : current.isHTTP10 ? .keepAliveSaid : .keepAlive
    let date = loop.dateLine()
    emit { ResponseEncoder.encode(response, framing: framing, persistence: persistence, date: date, into: &$0) }
    loop.counters.countResponse(response.status.code)
  }

  /// Whether the unread rest of the body is little enough to be dropped. Whoever waits for `100 Continue` may or may
  /// not send the body after another answer: what follows could be body or request.
  private func canDrain(_ current: Exchange) -> Bool {
    if current.expectsContinue || current.failure != nil { return false }
    return current.decoder.remaining.map { $0 <= Int64(limits.drain) } ?? true
  }

  private func framing(of response: Response, for current: inout Exchange) -> ResponseEncoder.Framing {
    if response.status.code == 304 { return .asGiven }
    if !response.status.allowsBody { return .none }
    switch response.body {
    case .none: return current.isHead ? .asGiven : .length(0)
    case .bytes(let bytes): return .length(Int64(bytes.count))
    case .webSocket: return .length(0)
    case .stream(let length?, _): return .length(length)
    case .stream(nil, _):
      guard current.isHTTP10 else { return .chunked }
      current.keepAlive = false
      return .close
    }
  }

  /// The response is in the output: make ready for the next request, or for the end.
  private func finishResponse(_ current: inout Exchange) {
    current.response = .sent
    current.task = nil
    // A task that the handler left behind.
    current.reader?.resume(returning: .failure(.unavailable))
    current.reader = nil
    if !current.keepAlive {
      closesAfterOutput = true
      if !current.decoder.isComplete || current.clientKeepsAlive { lingers = true }
    } else if current.decoder.isComplete {
      endExchange(&current)
    } else {
      current.drainBudget = limits.drain - current.buffer.count
      current.buffer = []
      bodyDeadline = loop.now + times.bodyIdle
    }
  }

  /// The exchange is over on both sides. The caller drops it.
  func endExchange(_ current: inout Exchange) {
    headDeadline = loop.now + times.keepAliveIdle
    if service.isDraining { closesAfterOutput = true }
  }
}

extension HTTPResponse.Status {
  fileprivate var allowsBody: Bool { code >= 200 && code != 204 && code != 304 }
}

extension Response {
  fileprivate var asksToClose: Bool { headers[.connection]?.lowercased() == "close" }
}
