import ArgumentParser
import JSON

/// `key=value` on the command line.
struct LabelPair: ExpressibleByArgument, Equatable, Sendable {
  let key: String
  let value: String

  init?(argument: String) {
    guard let equals = argument.firstIndex(of: "="), equals != argument.startIndex else { return nil }
    key = String(argument[..<equals])
    value = String(argument[argument.index(after: equals)...])
  }

  /// The pairs as a JSON object; of a key given twice the last counts.
  static func object(_ pairs: [LabelPair]) -> JSONValue {
    .object(pairs.reduce(into: JSONObject()) { $0[$1.key] = .string($1.value) })
  }
}

/// A change of labels on the command line: `key=value` sets, `key-` removes.
enum LabelEdit: ExpressibleByArgument, Equatable, Sendable {
  case set(String, String)
  case remove(String)

  init?(argument: String) {
    if let pair = LabelPair(argument: argument) {
      self = .set(pair.key, pair.value)
    } else if argument.hasSuffix("-"), argument.count > 1 {
      self = .remove(String(argument.dropLast()))
    } else {
      return nil
    }
  }

  /// The labels after all edits, the untouched ones in their old order.
  static func apply(_ edits: [LabelEdit], to labels: JSONObject) -> JSONObject {
    edits.reduce(into: labels) { labels, edit in
      switch edit {
      case .set(let key, let value): labels[key] = .string(value)
      case .remove(let key): labels[key] = nil
      }
    }
  }
}
