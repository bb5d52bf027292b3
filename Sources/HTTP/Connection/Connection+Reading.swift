/// Reading: from the socket to the parsers, only what is of use now.
extension Connection {
  /// Whether more bytes of the client are of use now. When they are not, they stay in the kernel, and the client waits.
  var wantsInput: Bool {
    if peerEnded { return false }
    switch phase {
    case .handshake, .lingering: return true
    case .closed: return false
    case .webSocket: return webSocketWantsInput
    case .requests:
      if closesAfterOutput { return false }
      // First without looking into it: copying an exchange costs.
      guard exchange != nil, let exchange else { return output.count < limits.outputBuffer }
      if exchange.decoder.isComplete { return input.count < limits.pipelineBuffer }
      if exchange.failure != nil { return false }
      return exchange.isAnswered || exchange.buffer.count < limits.bodyBuffer
    }
  }

  /// Reads what there is. Returns whether anything came.
  @discardableResult
  func readInput() -> Bool {
    var cameAny = false
    var rounds = 0
    while wantsInput {
      if rounds == Self.roundsPerTurn {
        // A socket that has more is announced again, so others get their turn; what TLS holds is not announced.
        if transport.holdsInput { goOnLater() }
        return cameAny
      }
      rounds += 1
      switch transport.read(into: loop.readBuffer) {
      case .bytes(let count):
        loop.counters.received.add(count, ordering: .relaxed)
        cameAny = true
        take(UnsafeBufferPointer(rebasing: loop.readBuffer[0..<count]))
        if transport.holdsInput { continue }
        if count < loop.readBuffer.count { return true }
      case .wouldBlock: return cameAny
      case .end:
        inputEnded()
        return true
      case .failed:
        close()
        return true
      }
    }
    return cameAny
  }

  /// Reads on when the loop has looked at the other connections.
  private func goOnLater() {
    goesOnLater = true
    loop.submit {
      self.assumeIsolated {
        $0.goesOnLater = false
        guard $0.phase != .closed else { return }
        $0.readInput()
        $0.settle()
      }
    }
  }

  private func take(_ bytes: UnsafeBufferPointer<UInt8>) {
    if phase == .lingering {
      lingerBudget -= bytes.count
      if lingerBudget < 0 { close() }
    } else if input.isEmpty {
      let used = process(bytes.span)
      if used < bytes.count, phase != .closed { input.append(contentsOf: bytes[used...]) }
    } else {
      input.append(contentsOf: bytes)
      processInput()
    }
  }

  /// Goes on with the bytes that were kept. Returns whether it got any further.
  @discardableResult
  func processInput() -> Bool {
    var pending = input
    input = []
    let used = process(pending.span)
    guard phase != .closed else { return true }
    if used == pending.count { return true }
    pending.removeFirst(used)
    input = pending
    return used > 0
  }

  /// Takes bytes as far as the state allows; returns how many.
  private func process(_ bytes: Span<UInt8>) -> Int {
    phase == .webSocket ? processFrames(bytes) : processRequests(bytes)
  }

  func notePeerHangup() {
    // What the client sent before it left is still to be read, if somebody wants it.
    if phase == .requests, !closesAfterOutput, exchange?.awaitsBody != true { inputEnded() } else { hangupNoted = true }
  }

  func inputEnded() {
    peerEnded = true
    switch phase {
    case .handshake, .lingering, .closed: close()
    case .webSocket: webSocketPeerEnded()
    case .requests: requestsEnded()
    }
  }
}
