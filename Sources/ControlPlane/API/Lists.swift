import AloftModel
import Foundation
import JSON

/// A place in a list: the last id of a page, in base64url.
enum ListCursor {
  static func encode(_ id: UUID) -> String {
    let bytes = withUnsafeBytes(of: id.uuid) { Data($0) }
    return bytes.base64EncodedString()
      .replacingOccurrences(of: "+", with: "-").replacingOccurrences(of: "/", with: "_")
      .replacingOccurrences(of: "=", with: "")
  }

  static func decode(_ text: String) -> UUID? {
    let base64 = text.replacingOccurrences(of: "-", with: "+").replacingOccurrences(of: "_", with: "/") + "=="
    guard let bytes = Data(base64Encoded: base64), bytes.count == 16 else { return nil }
    var id: uuid_t = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    withUnsafeMutableBytes(of: &id) { $0.copyBytes(from: bytes) }
    return UUID(uuid: id)
  }
}

extension Call {
  /// The place behind which the page starts.
  func cursor() throws -> UUID? {
    guard let text = string("cursor") else { return nil }
    guard let id = ListCursor.decode(text) else {
      throw Problem(
        .badCursor, "\(text) is no cursor of this list; start without one, then pass each page's next_cursor",
        errors: [.init(code: .badCursor, detail: "not a cursor", parameter: "cursor")])
    }
    return id
  }

  var limit: Int { int("limit") ?? 100 }

  /// The `label` filters: `key=value`, or `key` for any value.
  func labelFilters() -> [VMStore.LabelFilter] {
    strings("label").map { text in
      let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      return VMStore.LabelFilter(key: String(parts[0]), value: parts.count == 2 ? String(parts[1]) : nil)
    }
  }
}

extension Reply {
  /// A page of a list: `fetched` holds one more than `limit` when there are more behind it.
  static func page<Item: JSONWritable>(_ fetched: [Item], limit: Int, id: (Item) -> UUID) -> Reply {
    let items = fetched.prefix(limit)
    var writer = JSONWriter(capacity: 256 + items.count * 1024)
    writer.object { writer in
      writer.key("items")
      writer.array { writer in
        for item in items { writer.write(item) }
      }
      writer.field("next_cursor", fetched.count > limit ? items.last.map { ListCursor.encode(id($0)) } : nil)
    }
    return Reply(contentType: "application/json", body: .bytes(writer.bytes))
  }
}

extension [String: String] {
  /// The JSON object, as `jsonb` takes it.
  var jsonText: String { String(decoding: jsonBytes, as: UTF8.self) }
}
