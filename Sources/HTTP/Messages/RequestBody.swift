/// The body of a request, as chunks in order. Can be read once.
///
/// Reading is what moves it: while nobody reads, the server stops taking bytes from the client after
/// `Limits.bodyBuffer`. The first read answers `Expect: 100-continue`.
public struct RequestBody: AsyncSequence, Sendable {
  public typealias Element = [UInt8]
  public typealias Failure = BodyError

  enum Source: Sendable {
    /// The whole body came with the head: no trip to the loop is needed.
    case complete([UInt8])
    case streamed(Connection, exchange: UInt64, declaredLength: Int64?)
  }

  /// What a reader asks of the client.
  struct Terms: Sendable {
    var isSparse = false
    /// From the first read to the end.
    var milliseconds: Int64?
  }

  let source: Source
  private var terms = Terms()

  init(source: Source) { self.source = source }

  /// A body that is in memory.
  public init(_ bytes: [UInt8]) { source = .complete(bytes) }

  /// The length in bytes if it is known before reading: from Content-Length, or because all of it has come.
  public var declaredLength: Int64? {
    switch source {
    case .complete(let bytes): Int64(bytes.count)
    case .streamed(_, _, let length): length
    }
  }

  public func makeAsyncIterator() -> Iterator { Iterator(source: source, terms: terms) }

  /// The same body, for one that comes as it arises, such as a log that is followed: no `Limits.bodyRate` is asked of
  /// it, only that it is never silent for `Limits.bodyIdle`.
  public var sparse: RequestBody {
    var body = self
    body.terms.isSparse = true
    return body
  }

  /// Reads the whole body. Throws ``BodyError/tooLarge(limit:)`` as soon as it is known to be longer than `limit`
  /// bytes, before reading it where its length was declared, and ``BodyError/timedOut`` when it has not come within
  /// `time`.
  public func collect(upTo limit: Int, within time: Duration? = nil) async throws(BodyError) -> [UInt8] {
    if let declaredLength, declaredLength > Int64(limit) { throw .tooLarge(limit: limit) }
    if case .complete(let bytes) = source { return bytes }
    var terms = terms
    terms.milliseconds = time?.milliseconds
    var iterator = Iterator(source: source, terms: terms)
    var bytes: [UInt8] = []
    // What was declared need not come: reserve no more than a client may waste.
    if let declaredLength { bytes.reserveCapacity(Int(Swift.min(declaredLength, 1 << 20))) }
    while let chunk = try await iterator.next(isolation: nil) {
      if bytes.count + chunk.count > limit { throw .tooLarge(limit: limit) }
      bytes += chunk
    }
    return bytes
  }

  public struct Iterator: AsyncIteratorProtocol {
    public typealias Failure = BodyError
    private var source: Source?

    private let terms: Terms

    init(source: Source, terms: Terms) {
      self.source = source
      self.terms = terms
    }

    public mutating func next() async throws(BodyError) -> [UInt8]? { try await next(isolation: nil) }

    public mutating func next(isolation actor: isolated (any Actor)?) async throws(BodyError) -> [UInt8]? {
      switch source {
      case nil: return nil
      case .complete(let bytes):
        source = nil
        return bytes.isEmpty ? nil : bytes
      case .streamed(let connection, let exchange, _):
        let (terms, ticket) = (terms, connection.service.newTicket())
        let outcome = await withTaskCancellationHandler {
          await connection.nextBodyChunk(of: exchange, terms: terms, ticket: ticket)
        } onCancel: {
          connection.loop.submit { connection.assumeIsolated { $0.cancelBodyRead(ticket: ticket) } }
        }
        let chunk = try outcome.get()
        if chunk == nil { source = nil }
        return chunk
      }
    }
  }
}

/// Why a request body could not be read.
public enum BodyError: Error, Equatable, Sendable {
  /// It is longer than the reader allows, or than `Limits.maximumBody`. Answer 413.
  case tooLarge(limit: Int)
  /// It breaks the chunked coding. Answer 400.
  case malformed(String)
  /// The client left before its end.
  case incomplete
  /// No byte came for `Limits.bodyIdle`, it came slower than `Limits.bodyRate`, or not within the time that the reader
  /// allows. Answer 408.
  case timedOut
  /// The reading task was cancelled.
  case cancelled
  /// Two tasks read at once, or the request has been answered already.
  case unavailable
}
