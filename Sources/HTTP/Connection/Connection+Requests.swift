import HTTPTypes
import Logging

/// Requests: from bytes to a running handler.
extension Connection {
  /// Parses heads and bodies until there is nothing more to take. Returns how many bytes were taken.
  func processRequests(_ bytes: Span<UInt8>) -> Int {
    var offset = 0
    while phase == .requests {
      if closesAfterOutput { return bytes.count }
      guard offset < bytes.count else { return offset }
      if exchange == nil {
        guard output.count < limits.outputBuffer else { return offset }
        if parser.isIdle { headDeadline = loop.now + times.header }
        do throws(ParseError) {
          let head = bytes.extracting(offset..<bytes.count)
          guard try parser.parse(head) else { return offset }
          offset += try begin(head)
        } catch {
          refuse(status: error.status, detail: error.detail)
        }
      } else if exchange?.decoder.isComplete == false {
        guard wantsInput else { return offset }
        offset = takeBody(bytes, from: offset)
      } else {
        return offset
      }
    }
    return offset
  }

  /// Starts the exchange whose head was just parsed. Returns the bytes taken: the head, and the body if it is there.
  private func begin(_ bytes: Span<UInt8>) throws(ParseError) -> Int {
    // Read in place: a copy of the layout would cost the parser its memory.
    let framing = parser.layout.framing
    var decoder = try BodyDecoder(framing: framing, maximum: limits.maximumBody)
    let hasBody = !decoder.isComplete
    var end = parser.layout.length
    var received: [UInt8] = []
    if !decoder.isComplete, end < bytes.count {
      end = try decoder.decode(bytes, from: end, into: &received)
    }
    lastExchange += 1
    let id = lastExchange
    let source: RequestBody.Source
    if decoder.isComplete {
      source = .complete(received)
      received = []
    } else {
      var declared: Int64?
      if case .length(let length) = framing { declared = length }
      source = .streamed(self, exchange: id, declaredLength: declared)
      bodyDeadline = loop.now + times.bodyIdle
    }
    let request = RequestBuilder.request(parser.layout, bytes, peer: peer, body: RequestBody(source: source))
    var current = Exchange(
      id: id, isHead: request.method == .head, isHTTP10: parser.layout.isHTTP10,
      offer: parser.layout.saysUpgrade
        ? WebSocketHandshake.offer(
          in: request, upgrades: parser.layout.upgradesToWebSocket, standsAlone: !hasBody && !parser.layout.isHTTP10)
        : .absent,
      clientKeepsAlive: parser.layout.keepAlive, keepAlive: parser.layout.keepAlive,
      expectsContinue: parser.layout.expectsContinue && !decoder.isComplete && received.isEmpty,
      decoder: decoder, buffer: received)
    loop.counters.requests.add(1, ordering: .relaxed)
    parser.reset()
    answer(request, &current)
    if !current.isOver { exchange = current }
    return end
  }

  private func answer(_ request: Request, _ current: inout Exchange) {
    let id = current.id
    if let immediate = service.immediate, let response = immediate(request) {
      switch response.body {
      case .none, .bytes: writeAnswer(response, to: &current)
      case .stream, .webSocket: current.task = work { connection in await connection.deliver(response, to: id) }
      }
      return
    }
    current.task = work { connection in
      let response = await connection.service.responder(request)
      await connection.deliver(response, to: id)
    }
  }

  /// Runs a handler, on the connection's loop wherever it does not ask for another thread.
  private func work(_ body: @escaping @Sendable (Connection) async -> Void) -> Task<Void, Never> {
    loop.taskBegan()
    return Task.detached(executorPreference: loop.handlers) { [self] in
      await body(self)
      loop.taskEnded()
    }
  }

  /// Sends a response from the handler's task, off the loop.
  private nonisolated func deliver(_ response: Response, to id: UInt64) async {
    switch response.body {
    case .none, .bytes:
      hand(response, to: id)
    case .stream(let length, let produce):
      guard await beginStream(response, length: length, of: id) else { return }
      do {
        try await produce(BodyWriter(connection: self, exchange: id))
        await endStream(of: id, failed: false)
      } catch {
        service.logger.debug("a response broke off", metadata: ["reason": "\(error)"])
        await endStream(of: id, failed: true)
      }
    case .webSocket(let converse):
      guard await beginWebSocket(response, id) else { return }
      do {
        try await converse(WebSocket(connection: self, exchange: id))
        await finishWebSocket(code: 1000, id)
      } catch {
        service.logger.debug("a WebSocket broke off", metadata: ["reason": "\(error)"])
        await finishWebSocket(code: 1011, id)
      }
    }
  }

  /// Responds at once if the handler ended on the loop. If not, nobody waits for it: to come back, only to end, would cost
  /// another turn.
  private nonisolated func hand(_ response: Response, to id: UInt64) {
    if loop.isCurrent {
      assumeIsolated { $0.respond(response, to: id) }
    } else {
      loop.submit { self.assumeIsolated { $0.respond(response, to: id) } }
    }
  }

  /// Answers for the server itself and ends the connection.
  func refuse(status: Int, detail: String) {
    loop.counters.refusedRequests.add(1, ordering: .relaxed)
    let status = HTTPResponse.Status(code: status)
    let (type, bytes) = service.errorBody(status, detail)
    writeFinal(Response(status: status, contentType: type, body: bytes))
  }

  func requestDeadlineReached() {
    let now = loop.now
    if let exchange {
      guard exchange.clientOwesBody, wantsInput, min(bodyDeadline, exchange.bodyEnd) <= now else { return }
      loop.counters.timeouts.add(1, ordering: .relaxed)
      if exchange.isAnswered { close() } else { failBody(.timedOut) }
    } else if headDeadline <= now {
      if parser.isIdle {
        close()
      } else {
        loop.counters.timeouts.add(1, ordering: .relaxed)
        refuse(status: 408, detail: "The request head took too long.")
      }
    }
  }

  /// The client will send nothing more: a request that is being answered is answered still, if its handler does so
  /// although it is cancelled.
  func requestsEnded() {
    guard let current = exchange else {
      if output.isEmpty { close() } else { closesAfterOutput = true }
      return
    }
    exchange?.keepAlive = false
    failBody(.incomplete)
    if current.isAnswered { closesAfterOutput = true }
    current.task?.cancel()
  }
}
