import JSON

extension API {
  /// How many items are asked for at a time.
  static let pageSize = 500

  /// The items of all pages of a list, or the first `limit` of them.
  func items(
    _ path: String, query: [(String, String)] = [], limit: Int? = nil
  ) async throws(CommandFailure) -> [JSONValue] {
    var items: [JSONValue] = []
    var cursor: String?
    repeat {
      let wanted = min(Self.pageSize, limit.map { $0 - items.count } ?? Self.pageSize)
      var query = query + [("limit", String(wanted))]
      if let cursor { query.append(("cursor", cursor)) }
      let answer = try await send(APICall(.get, path, query: query))
      guard let page = answer.json["items"]?.arrayValue else {
        throw CommandFailure(.serverFault, "the server's answer is no page of a list")
      }
      items += page
      let next = answer.json["next_cursor"]?.stringValue
      guard next == nil || next != cursor else {
        throw CommandFailure(.serverFault, "the server's list does not end: the cursor repeats")
      }
      cursor = next
    } while cursor != nil && items.count < limit ?? .max
    return limit.map { Array(items.prefix($0)) } ?? items
  }
}
