import Foundation
import JSON

/// How one noun is shown: its table's columns, and what `-o name` prints.
struct Presentation: Sendable {
  /// One column of the table.
  struct Column: Sendable {
    let title: String
    let cell: @Sendable (_ item: JSONValue, _ now: Date) -> Table.Cell

    init(_ title: String, _ cell: @escaping @Sendable (_ item: JSONValue, _ now: Date) -> Table.Cell) {
      self.title = title
      self.cell = cell
    }
  }

  let columns: [Column]
  /// The member that `-o name` prints.
  let nameMember: String

  func table(_ items: [JSONValue], now: Date) -> Table {
    Table(header: columns.map(\.title), rows: items.map { item in columns.map { $0.cell(item, now) } })
  }

  func name(_ item: JSONValue) -> String { PrintableText.sanitized(item[nameMember]?.stringValue ?? "") }

  /// Every member of one item, in the server's order.
  static func details(_ item: JSONValue) -> [(key: String, value: Table.Cell)] {
    guard let members = item.objectValue else { return [("value", Table.Cell(plain(item)))] }
    return members.flatMap { member -> [(key: String, value: Table.Cell)] in
      let tone = ["state", "status"].contains(member.key) ? Style.tone(ofState: plain(member.value)) : nil
      if let inner = member.value.objectValue, member.key != "labels", !inner.isEmpty {
        return inner.map { ("\(member.key).\($0.key)", Table.Cell(plain($0.value))) }
      }
      return [(member.key, Table.Cell(plain(member.value), tone: tone))]
    }
  }

  /// A value on one line: text as it is, labels as `key=value`, nothing as `-`.
  static func plain(_ value: JSONValue?) -> String {
    switch value {
    case nil, .null: "-"
    case .string(let text): text.isEmpty ? "-" : text
    case .object(let members):
      members.isEmpty ? "-" : members.map { "\($0.key)=\(plain($0.value))" }.joined(separator: ",")
    case .array(let elements): elements.isEmpty ? "-" : elements.map { plain($0) }.joined(separator: ", ")
    case .some(let scalar): scalar.description
    }
  }
}
