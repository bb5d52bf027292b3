import Execution
import HTTPTypes

extension HTTPClient {
  /// Streams a response's body into a file, without holding more than about 1 MiB of it in memory.
  ///
  /// A status that is not 2xx writes nothing. When the request asks for a `Range`, only `206 Partial Content` that begins
  /// where the request does is written: anything else would put the wrong bytes at `offset`.
  ///
  /// - Parameters:
  ///   - descriptor: a file open for writing; it stays the caller's and is not synced.
  ///   - offset: where in the file the first byte of the body goes.
  ///   - maxBytes: a larger body ends with ``HTTPClientError/Kind/tooLarge``; what came before stays in the file.
  ///   - progress: called after each write, on the calling task.
  ///   - onBytes: sees the bytes in order after they were written (for a hash), on a thread that may block.
  public func download(
    _ request: HTTPClientRequest, to descriptor: Int32, offset: Int64 = 0, maxBytes: Int64 = .max,
    deadline: Duration? = nil, progress: (@Sendable (TransferProgress) -> Void)? = nil,
    onBytes: (@Sendable ([UInt8]) -> Void)? = nil
  ) async throws(HTTPClientError) -> HTTPClientDownload {
    let origin = try request.validOrigin().description
    let response = try await stream(request, deadline: deadline)
    guard (200...299).contains(response.status) else {
      let body = try await response.body.prefix(bytes: Self.errorBodyLimit)
      return HTTPClientDownload(
        status: response.status, headers: response.headers, bytesWritten: 0, errorBody: body)
    }
    guard request.headers[.range] == nil || response.status == 206 else {
      throw HTTPClientError(
        kind: .protocolError, origin: origin,
        detail: "the server ignored the Range and answered \(response.status)")
    }
    if let range = request.headers[.range] {
      let begin = response.headers[.contentRange].flatMap(Self.firstByte)
      guard begin != nil, begin == Self.firstByte(of: range) else {
        throw HTTPClientError(kind: .protocolError, origin: origin, detail: "the server answered with another range")
      }
    }
    let total = response.headers[.contentLength].flatMap { Int64($0) }
    if let total, total > maxBytes { throw Self.tooLarge(maxBytes, origin) }

    // Disk writes may block for long: neither the pool's threads nor the loop's thread wait for them.
    let thread = DedicatedThread(name: "http-file-write")
    var written: Int64 = 0
    for try await bytes in response.body {
      guard Int64(bytes.count) <= maxBytes - written else { throw Self.tooLarge(maxBytes, origin) }
      let position = offset + written
      do {
        try await thread.run { () throws(FileFailure) in
          try OpenFile.writeAll(bytes, to: descriptor, at: position)
          onBytes?(bytes)
        }
      } catch {
        throw HTTPClientError(
          kind: .file(errno: error.errno), origin: origin, detail: "writing: \(error)")
      }
      written += Int64(bytes.count)
      progress?(TransferProgress(bytes: written, total: total))
    }
    return HTTPClientDownload(
      status: response.status, headers: response.headers, bytesWritten: written, errorBody: [])
  }

  /// How much of an error response's body is kept.
  static let errorBodyLimit = 64 << 10

  /// The first byte of `bytes=2000-…` and of `bytes 2000-…`; nil for the last n bytes and for several ranges.
  private static func firstByte(of range: String) -> Int64? {
    let parts = range.split(maxSplits: 1) { $0 == "=" || $0 == " " }
    guard parts.count == 2, parts[0].lowercased() == "bytes", !parts[1].contains(",") else { return nil }
    return parts[1].split(separator: "-", omittingEmptySubsequences: false).first.flatMap { Int64($0) }
  }

  private static func tooLarge(_ limit: Int64, _ origin: String) -> HTTPClientError {
    HTTPClientError(
      kind: .tooLarge, origin: origin, detail: "the body has more than \(limit) bytes")
  }
}

extension HTTPClientResponseBody {
  /// The first `count` bytes; the rest is not read.
  func prefix(bytes count: Int) async throws(HTTPClientError) -> [UInt8] {
    var result: [UInt8] = []
    for try await bytes in self {
      result += bytes.prefix(count - result.count)
      if result.count >= count { break }
    }
    return result
  }
}
