import Foundation
import HTTPTypes
import JSON

extension S3Store {
  public func list(prefix: String, continuation: String?, limit: Int) async throws(ObjectStoreError) -> ObjectPage {
    var query = [
      (name: "list-type", value: "2"), ("prefix", client.configuration.keyPrefix + prefix),
      ("max-keys", "\(min(max(limit, 1), 1000))"),
    ]
    if let continuation { query.append(("continuation-token", continuation)) }
    let list = try await xml("ListObjectsV2", query)
    var objects: [ObjectInfo] = []
    for element in list.all("Contents") {
      guard let size = element.text("Size").flatMap({ Int64($0) }),
        let date = element.text("LastModified").flatMap(RFC3339.date)
      else { throw .protocolViolation("ListObjectsV2 with an object without size or date") }
      // What others keep in the bucket under names that are none here is not ours.
      guard let key = element.text("Key").flatMap(ownKey) else { continue }
      objects.append(ObjectInfo(key: key, size: size, modified: date))
    }
    guard list.text("IsTruncated") == "true" else { return ObjectPage(objects: objects, next: nil) }
    guard let next = list.text("NextContinuationToken"), next != continuation else {
      throw .protocolViolation("ListObjectsV2 is truncated but does not say how to go on")
    }
    return ObjectPage(objects: objects, next: next)
  }

  public func leftovers(before date: Date) async throws(ObjectStoreError) -> [UploadLeftover] {
    var found: [UploadLeftover] = []
    var markers: [(name: String, value: String)] = []
    while true {
      let list = try await xml(
        "ListMultipartUploads",
        [("uploads", ""), ("prefix", client.configuration.keyPrefix), ("max-uploads", "1000")] + markers)
      for element in list.all("Upload") {
        guard let key = element.text("Key").flatMap(ownKey), let id = element.text("UploadId") else { continue }
        guard let begun = element.text("Initiated").flatMap(RFC3339.date) else {
          throw .protocolViolation("ListMultipartUploads with an upload without a date")
        }
        if begun < date { found.append(UploadLeftover(id: id, key: key, date: begun)) }
      }
      guard list.text("IsTruncated") == "true" else { return found }
      guard let key = list.text("NextKeyMarker"), let id = list.text("NextUploadIdMarker"),
        markers.map(\.value) != [key, id]
      else { throw .protocolViolation("ListMultipartUploads is truncated but does not say how to go on") }
      markers = [("key-marker", key), ("upload-id-marker", id)]
    }
  }

  public func discard(_ leftover: UploadLeftover) async throws(ObjectStoreError) {
    guard let key = leftover.key else { return }
    do throws(ObjectStoreError) {
      _ = try await client.send(
        .init(name: "AbortMultipartUpload", method: .delete, key: key.text, query: [("uploadId", leftover.id)]))
    } catch .unknownUpload { return } catch .notFound { return }
  }

  private func xml(_ name: String, _ query: [(name: String, value: String)]) async throws(ObjectStoreError) -> S3Element
  {
    let response = try await client.send(.init(name: name, method: .get, key: nil, query: query))
    guard let root = S3Element.parse(response.body) else { throw .protocolViolation("\(name) without XML") }
    return root
  }

  private func ownKey(_ text: String) -> ObjectKey? {
    guard text.hasPrefix(client.configuration.keyPrefix) else { return nil }
    return try? ObjectKey(String(text.dropFirst(client.configuration.keyPrefix.count)))
  }
}
