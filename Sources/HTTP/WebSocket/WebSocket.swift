/// An open WebSocket. One task may receive while others send.
///
/// Pings are answered and sent, and the closing handshake is done, by the server.
public struct WebSocket: Sendable {
  public enum Message: Sendable, Equatable {
    case text(String)
    case binary([UInt8])
  }

  let connection: Connection
  let exchange: UInt64

  /// The next message; nil when the other side has closed, or this side has called ``close(code:reason:)``. Messages
  /// wait in order, and the client is made to wait beyond `Limits.webSocketMessage` bytes of them.
  public func receive() async throws(StreamError) -> Message? {
    let connection = connection
    let exchange = exchange
    let ticket = connection.service.newTicket()
    let outcome = await withTaskCancellationHandler {
      await connection.receiveMessage(exchange, ticket: ticket)
    } onCancel: {
      connection.loop.submit { connection.assumeIsolated { $0.cancelReceive(ticket: ticket) } }
    }
    return try outcome.get()
  }

  /// Sends a message. Suspends while `Limits.outputBuffer` bytes wait for the client to read.
  public func send(_ message: Message) async throws(StreamError) {
    let connection = connection
    let exchange = exchange
    let ticket = connection.service.newTicket()
    let outcome = await withTaskCancellationHandler {
      switch message {
      case .text(let text): await connection.sendFrame(.text, Array(text.utf8), exchange, ticket: ticket)
      case .binary(let bytes): await connection.sendFrame(.binary, bytes, exchange, ticket: ticket)
      }
    } onCancel: {
      connection.loop.submit { connection.assumeIsolated { $0.cancelWrite(ticket: ticket) } }
    }
    try outcome.get()
  }

  /// Begins the closing handshake: nothing can be sent afterwards. `code` is 1000, or 3000–4999 for the application.
  public func close(code: UInt16 = 1000, reason: String = "") async {
    await connection.closeWebSocket(code: code, reason: reason, exchange)
  }

  /// The messages until the other side closes.
  public var messages: Messages { Messages(socket: self) }

  public struct Messages: AsyncSequence, AsyncIteratorProtocol, Sendable {
    public typealias Element = Message
    public typealias Failure = StreamError
    let socket: WebSocket

    public func makeAsyncIterator() -> Messages { self }
    public func next() async throws(StreamError) -> Message? { try await socket.receive() }
    public func next(isolation actor: isolated (any Actor)?) async throws(StreamError) -> Message? {
      try await socket.receive()
    }
  }
}
