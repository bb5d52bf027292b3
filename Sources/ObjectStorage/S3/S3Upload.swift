import Execution
import Foundation
import HTTPClient
import HTTPTypes

/// An upload into an ``S3Store``. Bytes are collected to parts; a part that the store has confirmed is durable.
///
/// What is collected for the next part is not. The last part may be small, so where the object's size is known its last byte
/// is durable at once.
actor S3Upload: ObjectUpload {
  /// A part that the store has.
  struct Part: Sendable {
    let tag: String
    let size: Int64

    func add(to hash: inout RunningHash) { hash.add("\(tag) \(size)\n".utf8) }
  }

  private let client: S3Client
  /// Hashing and copying take their time; the pool has better to do.
  private let thread = DedicatedThread(name: "object-write")
  private(set) var state: UploadState
  private var parts: [Part]
  private var buffer: [UInt8] = []
  /// Of everything up to `position`.
  private var hash: RunningHash
  private var isBusy = false
  private var isOver = false

  private static let maxParts = 10_000

  nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

  init(_ client: S3Client, _ state: UploadState, parts: [Part] = []) {
    self.client = client
    self.state = state
    self.parts = parts
    hash = state.hash
  }

  var position: Int64 { state.durableBytes + Int64(buffer.count) }
  var sha256: String { hash.hexadecimal }

  func append(_ bytes: [UInt8], at offset: Int64) async throws(ObjectStoreError) -> Int64 {
    try begin()
    defer { isBusy = false }
    guard offset == position else { throw .wrongOffset(expected: position) }
    let limit = state.size ?? state.partBytes * Int64(Self.maxParts)
    guard Int64(bytes.count) <= limit - position else { throw .tooLarge(limit: limit) }
    var rest = bytes[...]
    while !rest.isEmpty {
      let taken = rest.prefix(Int(state.partBytes) - buffer.count)
      buffer += taken
      hash.add(taken)
      rest = rest.dropFirst(taken.count)
      // Small objects wait for `finish` and are one request.
      let isLast = position == state.size && !parts.isEmpty
      if buffer.count == Int(state.partBytes) || isLast { try await sendPart() }
    }
    return state.durableBytes
  }

  func flush() async throws(ObjectStoreError) -> Int64 {
    try begin()
    isBusy = false
    return state.durableBytes
  }

  func finish(size: Int64, sha256: String) async throws(ObjectStoreError) -> ObjectInfo {
    try begin()
    defer { isBusy = false }
    guard position == size else { throw .sizeMismatch(expected: size, actual: position) }
    let digest = hash.hexadecimal
    guard digest == sha256.lowercased() else { throw .checksumMismatch(expected: sha256.lowercased(), actual: digest) }
    if parts.isEmpty {
      _ = try await client.send(.init(name: "PutObject", method: .put, key: state.key.text, body: buffer))
      if !state.id.isEmpty { try await abortMultipart() }
    } else {
      if !buffer.isEmpty { try await sendPart() }
      try await complete(size)
    }
    isOver = true
    buffer = []
    return ObjectInfo(key: state.key, size: size, modified: client.environment.now())
  }

  func abort() async throws(ObjectStoreError) {
    try begin()
    defer { isBusy = false }
    if !state.id.isEmpty { try await abortMultipart() }
    isOver = true
    buffer = []
  }

  private func begin() throws(ObjectStoreError) {
    guard !isOver else { throw .unknownUpload }
    guard !isBusy else { throw .uploadInUse }
    isBusy = true
  }

  // MARK: Requests

  private func sendPart() async throws(ObjectStoreError) {
    do throws(ObjectStoreError) {
      if state.id.isEmpty { try await create() }
      let response = try await client.send(
        .init(
          name: "UploadPart", method: .put, key: state.key.text,
          query: [("partNumber", "\(parts.count + 1)"), ("uploadId", state.id)], body: buffer))
      guard let tag = response.headers[.eTag] else { throw .protocolViolation("UploadPart without an ETag") }
      let part = Part(tag: tag, size: Int64(buffer.count))
      parts.append(part)
      part.add(to: &state.partsHash)
      state.parts = parts.count
      state.durableBytes += part.size
      state.hash = hash
      buffer.removeAll(keepingCapacity: true)
    } catch {
      buffer.removeAll()
      hash = state.hash
      throw noUploadForKey(error)
    }
  }

  private func create() async throws(ObjectStoreError) {
    let response = try await client.send(
      .init(name: "CreateMultipartUpload", method: .post, key: state.key.text, query: [("uploads", "")]))
    guard let id = S3Element.parse(response.body)?.text("UploadId"), !id.isEmpty else {
      throw .protocolViolation("CreateMultipartUpload without an UploadId")
    }
    state.id = id
  }

  /// The store compares the parts' tags: had another process written over one of them, this would fail.
  private func complete(_ size: Int64) async throws(ObjectStoreError) {
    let list = parts.enumerated().map {
      "<Part><PartNumber>\($0.offset + 1)</PartNumber><ETag>\(Self.escaped($0.element.tag))</ETag></Part>"
    }
    let body = "<CompleteMultipartUpload>\(list.joined())</CompleteMultipartUpload>"
    let call = S3Client.Call(
      name: "CompleteMultipartUpload", method: .post, key: state.key.text, query: [("uploadId", state.id)],
      body: Array(body.utf8))
    do throws(ObjectStoreError) {
      _ = try await client.retrying(call.name) {
        [client] () async throws(ObjectStoreError) -> S3Client.Attempt<HTTPClientResponse> in
        let response = try await client.send(call)
        // S3 begins its answer before it knows: an error may stand in a 200.
        guard let root = S3Element.parse(response.body) else { throw .protocolViolation("\(call.name) without XML") }
        guard root.name == "Error" else { return .success(response) }
        return S3Failure(status: 200, body: response.body).attempt(of: call)
      }
    } catch {
      let error = noUploadForKey(error)
      // An attempt whose answer was lost may have done it.
      guard error == .unknownUpload, let info = try? await S3Store(client: client).stat(state.key), info.size == size
      else { throw error }
    }
  }

  private func abortMultipart() async throws(ObjectStoreError) {
    do throws(ObjectStoreError) {
      _ = try await client.send(
        .init(name: "AbortMultipartUpload", method: .delete, key: state.key.text, query: [("uploadId", state.id)]))
    } catch {
      guard noUploadForKey(error) == .unknownUpload else { throw error }
    }
  }

  /// A 404 on an upload is about the upload, whatever the store calls it.
  private func noUploadForKey(_ error: ObjectStoreError) -> ObjectStoreError {
    if case .notFound = error { return .unknownUpload }
    return error
  }

  private static func escaped(_ text: String) -> String {
    text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
  }
}
