/// The server is going down: what has begun is finished, nothing new begins.
extension Connection {
  /// Ends the connection as soon as nothing is under way: no request in the kernel, half received, or being answered.
  func drain() {
    switch phase {
    case .closed, .lingering: return
    // Its handler ends with the conversation.
    case .webSocket: sendClose(code: 1001, reason: "the server is going down")
    case .handshake: phaseDeadline = min(phaseDeadline, phaseDeadline - times.handshake + times.linger)
    case .requests:
      if exchange == nil { readInput() }
      exchange?.keepAlive = false
      if phase == .requests, exchange == nil, parser.isIdle, input.isEmpty { endIdle() }
    }
    settle()
  }

  /// A connection that has had its answers ends. One that was only just accepted may still send its first request.
  private func endIdle() {
    let firstDeadline = headDeadline - times.header + times.linger
    if lastExchange == 0, output.isEmpty, firstDeadline > loop.now {
      headDeadline = min(headDeadline, firstDeadline)
    } else {
      closesAfterOutput = true
    }
  }

  /// The grace is over: cancel the handler.
  func cancelWork() {
    exchange?.task?.cancel()
    settle()
  }
}
