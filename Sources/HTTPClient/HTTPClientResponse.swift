import HTTPTypes

/// A whole response, its body in memory.
public struct HTTPClientResponse: Sendable, Equatable {
  /// The status code, 200...599.
  public let status: Int
  /// The header fields, in the order they came. Trailers are not kept.
  public let headers: HTTPFields
  /// The body.
  public let body: [UInt8]
  /// Whether the body went on behind this; only when no more was asked for.
  public let isCut: Bool

  /// Makes a response, for whoever tests what is made of one.
  public init(status: Int, headers: HTTPFields, body: [UInt8], isCut: Bool = false) {
    self.status = status
    self.headers = headers
    self.body = body
    self.isCut = isCut
  }
}

/// A response whose body is still arriving.
public struct HTTPClientStreamingResponse: Sendable {
  /// The status code, 200...599.
  public let status: Int
  /// The header fields, in the order they came.
  public let headers: HTTPFields
  /// The body, once. Dropping it unread ends the transfer.
  public let body: HTTPClientResponseBody
}

/// What a download left.
public struct HTTPClientDownload: Sendable, Equatable {
  /// The status code.
  public let status: Int
  /// The header fields.
  public let headers: HTTPFields
  /// Bytes written to the file: 0 unless the status is 2xx.
  public let bytesWritten: Int64
  /// For a status that is not 2xx: the first 64 KiB of its body.
  public let errorBody: [UInt8]
}

/// The body of a response as a sequence of byte runs, for one reader.
///
/// The reader sets the pace: when it has about 1 MiB to read, the client stops reading from the connection. Iterating a
/// second time goes on where the first stopped.
public struct HTTPClientResponseBody: AsyncSequence, Sendable {
  public typealias Element = [UInt8]
  public typealias Failure = HTTPClientError

  let lease: TransferLease

  /// The iterator over the runs of bytes.
  public struct AsyncIterator: AsyncIteratorProtocol {
    let lease: TransferLease

    /// The next bytes, never empty; `nil` at the end of the body.
    public mutating func next(
      isolation actor: isolated (any Actor)? = #isolation
    ) async throws(HTTPClientError) -> [UInt8]? {
      try await lease.transfer.nextBytes(isolation: actor)
    }
  }

  public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(lease: lease) }
}

/// Ends the transfer when nobody can read it any more.
final class TransferLease: Sendable {
  let transfer: Transfer

  init(_ transfer: Transfer) { self.transfer = transfer }

  deinit { transfer.cancel() }
}
