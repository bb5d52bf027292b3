/// Request bodies: from the socket to whoever reads them.
extension Connection {
  /// Takes body bytes; returns the offset after them.
  func takeBody(_ bytes: Span<UInt8>, from start: Int) -> Int {
    guard var current = exchange else { return start }
    // Moved out and back, so that the buffer is not copied.
    exchange = nil
    defer { exchange = current.isOver ? nil : current }
    if current.expectsContinue {
      current.expectsContinue = false
      bodyDeadline = loop.now + times.bodyIdle
    }
    do throws(ParseError) {
      let end = try current.decoder.decode(bytes, from: start, into: &current.buffer)
      extendBodyDeadline(by: end - start, current)
      if current.isAnswered { dropBody(&current) } else { deliverBody(&current) }
      return end
    } catch {
      current.failure = error == .bodyTooLarge ? .tooLarge(limit: Int(limits.maximumBody)) : .malformed(error.detail)
      current.keepAlive = false
      current.buffer = []
      if current.isAnswered { closesAfterOutput = true }
      lingers = true
      deliverBody(&current)
      return bytes.count
    }
  }

  /// Each byte buys the time that it may take; more than `bodyIdle` is not saved up.
  private func extendBodyDeadline(by count: Int, _ current: Exchange) {
    let full = loop.now + times.bodyIdle
    let rate = limits.bodyRate
    bodyDeadline = current.isSparse || rate <= 0 ? full : min(full, bodyDeadline + Int64(count) * 1000 / Int64(rate))
  }

  /// Hands what there is to the waiting reader.
  private func deliverBody(_ current: inout Exchange) {
    guard let reader = current.reader else { return }
    if !current.buffer.isEmpty {
      let chunk = current.buffer
      current.buffer = []
      current.reader = nil
      reader.resume(returning: .success(chunk))
    } else if let failure = current.failure {
      current.reader = nil
      reader.resume(returning: .failure(failure))
    } else if current.decoder.isComplete {
      current.reader = nil
      reader.resume(returning: .success(nil))
    }
  }

  /// The answer is sent and nobody will read the rest: drop it, within a budget.
  private func dropBody(_ current: inout Exchange) {
    current.drainBudget -= current.buffer.count
    current.buffer.removeAll(keepingCapacity: true)
    if current.drainBudget < 0 {
      closesAfterOutput = true
      lingers = true
    } else if current.decoder.isComplete {
      endExchange(&current)
    }
  }

  /// The next bytes of the body, for the reader of exchange `id`; nil at its end.
  func nextBodyChunk(of id: UInt64, terms: RequestBody.Terms, ticket: UInt64) async -> Exchange.ChunkResult {
    if let known = bodyChunkNow(of: id, terms: terms) { return known }
    return await withCheckedContinuation { continuation in
      if let known = bodyChunkNow(of: id, terms: terms) {
        continuation.resume(returning: known)
      } else {
        exchange?.reader = Exchange.Reader(ticket: ticket, continuation: continuation)
        settle()
      }
    }
  }

  /// What the reader is told without waiting; nil if it has to wait.
  private func bodyChunkNow(of id: UInt64, terms: RequestBody.Terms) -> Exchange.ChunkResult? {
    guard let current = exchange, current.id == id, !current.isAnswered, current.reader == nil else {
      return .failure(phase == .closed ? .incomplete : .unavailable)
    }
    apply(terms)
    if !current.buffer.isEmpty {
      let wasFull = !wantsInput
      exchange?.buffer = []
      if wasFull { bodyDeadline = loop.now + times.bodyIdle }
      settle()
      return .success(current.buffer)
    }
    if let failure = current.failure { return .failure(failure) }
    if current.decoder.isComplete { return .success(nil) }
    // The task may have been cancelled before there was a reader to tell.
    if Task.isCancelled { return .failure(.cancelled) }
    if current.expectsContinue {
      exchange?.expectsContinue = false
      if case .pending = current.response { emit { $0.append(utf8: "HTTP/1.1 100 Continue\r\n\r\n") } }
      bodyDeadline = loop.now + times.bodyIdle
    }
    return nil
  }

  private func apply(_ terms: RequestBody.Terms) {
    if terms.isSparse, exchange?.isSparse == false {
      exchange?.isSparse = true
      bodyDeadline = loop.now + times.bodyIdle
    }
    if let milliseconds = terms.milliseconds, exchange?.bodyEnd == .max { exchange?.bodyEnd = loop.now + milliseconds }
  }

  func cancelBodyRead(ticket: UInt64) {
    guard let reader = exchange?.reader, reader.ticket == ticket else { return }
    exchange?.reader = nil
    reader.resume(returning: .failure(.cancelled))
  }

  /// The body cannot come to its end. Bytes that were received before are dropped.
  func failBody(_ error: BodyError) {
    guard let current = exchange, current.awaitsBody else { return }
    exchange?.failure = error
    exchange?.keepAlive = false
    exchange?.reader = nil
    lingers = true
    current.reader?.resume(returning: .failure(error))
  }
}
