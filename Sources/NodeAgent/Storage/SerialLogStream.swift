import AloftModel

/// Brings a serial log, or what will be written to it, to a client that waits for it.
struct SerialLogStream: Sendable {
  let stream: StreamRequest
  let log: any SerialLogReader
  let clock: any AgentClock

  /// How many bytes go into one piece.
  private static let pieceBytes = 64 << 10
  /// How often a log that is followed is looked at, in milliseconds.
  private static let followInterval = 200

  /// The first byte to send: what is asked for, as far as it is kept. A client that follows may ask for bytes to come.
  private func start(_ bounds: Range<Int>) -> Int {
    let wanted = max(
      bounds.lowerBound, stream.offset < 0 ? bounds.upperBound + stream.offset : stream.offset)
    return stream.follow ? wanted : min(wanted, bounds.upperBound)
  }

  /// Returns when all is sent, or when the client has left.
  func send(over link: any ControlPlaneLink) async throws(AgentFailure) {
    let start = start(try await log.bounds())
    try await link.send(stream, start: start) { write in
      var offset = start
      while true {
        let bytes = try await log.read(from: offset, count: Self.pieceBytes)
        if !bytes.isEmpty {
          try await write(bytes)
          offset += bytes.count
        } else if stream.follow {
          try await clock.sleep(until: clock.now().uptime + Self.followInterval)
        } else {
          return
        }
      }
    }
  }
}
