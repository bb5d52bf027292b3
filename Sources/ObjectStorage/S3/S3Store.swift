import Foundation
import HTTPClient
import HTTPTypes
import Logging

/// Objects in a bucket of an S3-compatible store.
///
/// Uploads are multipart uploads (small objects one PUT), so a bucket shows whole objects only. What was uploaded is hashed on
/// the way; each part is signed with its own hash, which the store checks.
public struct S3Store: ObjectStore {
  let client: S3Client

  /// Uses a bucket that must be there; nothing is asked of it yet.
  ///
  /// - Parameter http: brings trust roots and limits of connections. It stays the caller's.
  public init(
    configuration: S3Configuration, credentials: S3Credentials, http: HTTPClient,
    environment: StoreEnvironment = .system,
    logger: Logger
  ) throws(ObjectStoreError) {
    client = try S3Client(configuration, credentials, http, environment, logger)
  }

  init(client: S3Client) { self.client = client }

  public func beginUpload(_ key: ObjectKey, size: Int64?) async throws(ObjectStoreError) -> any ObjectUpload {
    var state = UploadState(key: key, size: size, id: "", hash: RunningHash())
    state.partBytes = Self.partBytes(for: size, usual: Int64(client.configuration.partBytes))
    return S3Upload(client, state)
  }

  public func resumeUpload(_ state: UploadState) async throws(ObjectStoreError) -> any ObjectUpload {
    guard state.partBytes >= 5 << 20, state.parts >= 0 else { throw .uploadDamaged }
    // Nothing has reached the store.
    guard !state.id.isEmpty else { return S3Upload(client, state) }
    return S3Upload(client, state, parts: try await parts(of: state))
  }

  public func stat(_ key: ObjectKey) async throws(ObjectStoreError) -> ObjectInfo { try await head(key).info }

  public func read(_ key: ObjectKey, range: Range<Int64>?) async throws(ObjectStoreError) -> ObjectContent {
    let (info, tag) = try await head(key)
    let range = try info.resolve(range)
    return ObjectContent(info: info, range: range, source: S3Content(client, key, tag, range))
  }

  public func delete(_ key: ObjectKey) async throws(ObjectStoreError) {
    do throws(ObjectStoreError) {
      _ = try await client.send(.init(name: "DeleteObject", method: .delete, key: key.text))
    } catch .notFound { return }
  }

  private func head(_ key: ObjectKey) async throws(ObjectStoreError) -> (info: ObjectInfo, tag: String?) {
    let response = try await client.send(.init(name: "HeadObject", method: .head, key: key.text))
    guard let size = response.headers[.contentLength].flatMap({ Int64($0) }), size >= 0 else {
      throw .protocolViolation("HeadObject without a Content-Length")
    }
    let modified = response.headers[.lastModified].flatMap(HTTPDate.parse) ?? Date(timeIntervalSince1970: 0)
    return (ObjectInfo(key: key, size: size, modified: modified), response.headers[.eTag])
  }

  /// S3 has at most 10 000 parts; some are left over so that a resumed upload is never short of one.
  private static func partBytes(for size: Int64?, usual: Int64) -> Int64 {
    guard let size else { return usual }
    let needed = size / 9_900 + 1
    return max(usual, (needed >> 20 + 1) << 20)
  }

  /// The parts that the state counts, if the store still has exactly those.
  private func parts(of state: UploadState) async throws(ObjectStoreError) -> [S3Upload.Part] {
    var parts: [S3Upload.Part] = []
    var marker = "0"
    while parts.count < state.parts {
      let call = S3Client.Call(
        name: "ListParts", method: .get, key: state.key.text,
        query: [("uploadId", state.id), ("part-number-marker", marker), ("max-parts", "1000")])
      let response: HTTPClientResponse
      do throws(ObjectStoreError) { response = try await client.send(call) } catch .notFound { throw .unknownUpload }
      guard let list = S3Element.parse(response.body) else { throw .protocolViolation("ListParts without XML") }
      let listed = list.all("Part")
      for element in listed where parts.count < state.parts {
        guard element.text("PartNumber") == "\(parts.count + 1)", let tag = element.text("ETag"),
          let size = element.text("Size").flatMap({ Int64($0) })
        else { throw .uploadDamaged }
        parts.append(S3Upload.Part(tag: tag, size: size))
      }
      guard parts.count < state.parts else { break }
      guard list.text("IsTruncated") == "true", !listed.isEmpty else { throw .uploadDamaged }
      marker = "\(parts.count)"
    }
    var hash = RunningHash()
    for part in parts { part.add(to: &hash) }
    guard hash == state.partsHash, parts.reduce(0, { $0 + $1.size }) == state.durableBytes else { throw .uploadDamaged }
    return parts
  }
}

/// Dates in header fields (RFC 9110, 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
enum HTTPDate {
  private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

  static func parse(_ text: String) -> Date? {
    let words = text.split(separator: " ")
    guard words.count == 6, let day = Int32(words[1]), let month = months.firstIndex(of: String(words[2])),
      let year = Int32(words[3]), (1970...9999).contains(year), (1...31).contains(day)
    else { return nil }
    let clock = words[4].split(separator: ":").compactMap { Int32($0) }
    guard clock.count == 3, clock.allSatisfy({ (0...60).contains($0) }) else { return nil }
    var parts = tm()
    (parts.tm_year, parts.tm_mon, parts.tm_mday) = (year - 1900, Int32(month), day)
    (parts.tm_hour, parts.tm_min, parts.tm_sec) = (clock[0], clock[1], clock[2])
    return Date(timeIntervalSince1970: Double(timegm(&parts)))
  }
}
