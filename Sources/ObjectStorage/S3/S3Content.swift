import HTTPClient
import HTTPTypes

/// Reads an object. When the connection breaks it goes on with another, at the byte where it was.
actor S3Content: ContentSource {
  private let client: S3Client
  private let key: ObjectKey
  private let tag: String?
  private var range: Range<Int64>
  private var body: HTTPClientResponseBody.AsyncIterator?
  /// Attempts since bytes came last.
  private var attempt = 1

  init(_ client: S3Client, _ key: ObjectKey, _ tag: String?, _ range: Range<Int64>) {
    self.client = client
    self.key = key
    self.tag = tag
    self.range = range
  }

  func next() async throws(ObjectStoreError) -> [UInt8]? {
    while !range.isEmpty {
      var iterator: HTTPClientResponseBody.AsyncIterator
      if let body { iterator = body } else { iterator = try await open() }
      body = iterator
      let outcome: Result<[UInt8]?, HTTPClientError>
      do throws(HTTPClientError) {
        outcome = .success(try await iterator.next(isolation: self))
      } catch { outcome = .failure(error) }
      switch outcome {
      case .success(let bytes?):
        guard Int64(bytes.count) <= range.upperBound - range.lowerBound else {
          throw .protocolViolation("GetObject answered with more than was asked for")
        }
        range = range.lowerBound + Int64(bytes.count)..<range.upperBound
        attempt = 1
        return bytes
      case .success(nil): try await goOn("the answer ended early")
      case .failure(let error):
        let next: S3Client.Attempt<Never> = try S3Client.attempt(of: error)
        switch next {
        case .again(let reason): try await goOn(reason)
        case .failure(let error): throw error
        }
      }
    }
    body = nil
    return nil
  }

  private func goOn(_ reason: String) async throws(ObjectStoreError) {
    body = nil
    attempt += 1
    guard attempt <= client.configuration.attempts else { throw .unavailable("reading \(key) broke off: \(reason)") }
    try await client.pause(before: attempt, "GetObject", reason)
  }

  private func open() async throws(ObjectStoreError) -> HTTPClientResponseBody.AsyncIterator {
    var headers = [(name: "range", value: "bytes=\(range.lowerBound)-\(range.upperBound - 1)")]
    if let tag { headers.append(("if-match", tag)) }
    let response = try await client.stream(
      .init(name: "GetObject", method: .get, key: key.text, headers: headers))
    guard response.status == 206, response.headers[.contentRange]?.hasPrefix("bytes \(range.lowerBound)-") == true
    else {
      throw .protocolViolation("GetObject did not answer with the range that was asked for")
    }
    return response.body.makeAsyncIterator()
  }
}
