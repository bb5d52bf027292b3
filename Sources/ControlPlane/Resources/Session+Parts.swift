import JSON
import Postgres

extension Row {
  /// The elements of a column that `jsonb_agg` made, which is null where there are none.
  func list<Element: Decodable>(_ index: Int, of type: Element.Type = Element.self) throws -> [Element] {
    guard let text = try get(index, as: JSONText?.self)?.text else { return [] }
    return try JSONCoder.decode([Element].self, from: try JSONValue.parse(Array(text.utf8)))
  }
}

extension Session {
  /// Up to three of the names that a query gives, as people list them; nil when it gives none. The query has an order and no limit.
  func someNames(_ sql: SQL) throws -> String? {
    let names = try query("\(fragment: sql) LIMIT 4").map { try $0.get(0, as: String.self) }
    if names.isEmpty { return nil }
    return names.prefix(3).joined(separator: ", ") + (names.count > 3 ? " and others" : "")
  }
}
