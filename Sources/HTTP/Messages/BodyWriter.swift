/// Writes a streamed response body. Each write is handed to the kernel at once, nothing waits for more to come.
public struct BodyWriter: Sendable {
  let connection: Connection
  let exchange: UInt64

  /// Sends `bytes`. Suspends while more than `Limits.outputBuffer` bytes wait for the client to read, so that a
  /// producer is never faster than its reader. Throws ``StreamError`` when the client has left.
  public func write(_ bytes: [UInt8]) async throws {
    let connection = connection
    let exchange = exchange
    let ticket = connection.service.newTicket()
    let outcome = await withTaskCancellationHandler {
      await connection.write(bytes, to: exchange, ticket: ticket)
    } onCancel: {
      connection.loop.submit { connection.assumeIsolated { $0.cancelWrite(ticket: ticket) } }
    }
    try outcome.get()
  }

  /// Sends the UTF-8 bytes of `text`.
  public func write(_ text: String) async throws { try await write(Array(text.utf8)) }
}

/// Why a stream to the client broke off.
public enum StreamError: Error, Equatable, Sendable {
  /// The client left, was too slow for `Limits.writeIdle`, or the server is going down.
  case closed
  /// The writing task was cancelled.
  case cancelled
  /// More bytes were written than the declared length.
  case lengthExceeded
}
