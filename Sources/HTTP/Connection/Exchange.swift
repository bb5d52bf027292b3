/// One request and its answer.
struct Exchange {
  enum ResponseState {
    case pending
    /// The head is sent, the body is being written; `remaining` of the declared length.
    case streaming(remaining: Int64?, chunked: Bool)
    case sent
  }

  typealias ChunkResult = Result<[UInt8]?, BodyError>

  /// Who waits for the next bytes of the body.
  struct Reader {
    let ticket: UInt64
    let continuation: CheckedContinuation<ChunkResult, Never>

    func resume(returning result: ChunkResult) { continuation.resume(returning: result) }
  }

  let id: UInt64
  let isHead: Bool
  let isHTTP10: Bool
  let offer: WebSocketHandshake.Offer
  /// Whether the client means to go on after this request, and may have sent the next one already.
  let clientKeepsAlive: Bool
  /// Whether another request may follow on this connection.
  var keepAlive: Bool
  /// The client waits for `100 Continue` before it sends the body.
  var expectsContinue: Bool
  var decoder: BodyDecoder
  /// Body bytes that nobody has read yet.
  var buffer: [UInt8]
  var failure: BodyError?
  var reader: Reader?
  /// No rate is asked of the body.
  var isSparse = false
  /// When the body has to be there.
  var bodyEnd = Int64.max
  var task: Task<Void, Never>?
  var response = ResponseState.pending
  /// What may still be dropped of an unread body once the answer is sent.
  var drainBudget = 0

  var isAnswered: Bool { if case .sent = response { true } else { false } }
  /// Whether both sides have sent all there is to send.
  var isOver: Bool { isAnswered && decoder.isComplete }
  /// Whether the client still has to send body bytes that can be used.
  var awaitsBody: Bool { !decoder.isComplete && failure == nil }
  /// Whether it is the client's turn to send: not while it waits for the server's `100 Continue`.
  var clientOwesBody: Bool { awaitsBody && !expectsContinue }
}
