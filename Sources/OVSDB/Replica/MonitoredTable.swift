import JSON

/// What a replica holds of one table.
public struct MonitoredTable: Sendable, Hashable {
  public var name: String
  /// Nil: all.
  public var columns: [String]?
  /// Rows for which any of these holds; none: all rows. (In a monitor conditions are joined by "or", ovsdb-server(7).)
  public var whereAny: [Condition]

  public init(_ name: String, columns: [String]? = nil, whereAny: [Condition] = []) {
    self.name = name
    self.columns = columns
    self.whereAny = whereAny
  }
}

extension [MonitoredTable] {
  /// A `<monitor-cond-requests>`. The columns are always named: otherwise servers add `_version`.
  func json(_ schema: DatabaseSchema) -> JSONValue {
    var requests = JSONObject()
    for table in self {
      var request = JSONObject()
      if let columns = table.columns ?? schema.tables[table.name]?.keys.sorted() {
        request["columns"] = .array(columns.map(JSONValue.string))
      }
      if !table.whereAny.isEmpty { request["where"] = .array(table.whereAny.map(\.json)) }
      requests[table.name] = [.object(request)]
    }
    return .object(requests)
  }
}
