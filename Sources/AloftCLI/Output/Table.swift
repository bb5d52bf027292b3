/// Rows in aligned columns. The last column is not padded, so lines carry no trailing blanks.
struct Table {
  /// One field of a row.
  struct Cell: ExpressibleByStringLiteral, Equatable {
    var text: String
    var tone: Style.Tone?

    init(_ text: String, tone: Style.Tone? = nil) {
      self.text = PrintableText.sanitized(text)
      self.tone = tone
    }

    init(stringLiteral value: String) { self.init(value) }
  }

  var header: [String]
  var rows: [[Cell]]

  func text(style: Style) -> String {
    var widths = header.map(\.count)
    for row in rows {
      for (column, cell) in row.enumerated() where column < widths.count {
        widths[column] = max(widths[column], cell.text.count)
      }
    }
    let head = header.map { Cell($0, tone: .strong) }
    return ([head] + rows).map { line($0, widths: widths, style: style) + "\n" }.joined()
  }

  /// `key  value` lines, without a header.
  static func details(_ pairs: [(key: String, value: Cell)], style: Style) -> String {
    let width = pairs.map(\.key.count).max() ?? 0
    return pairs.map { key, value in
      let label = style.apply(.quiet, to: PrintableText.sanitized(key))
      let gap = String(repeating: " ", count: width - key.count + 2)
      return value.text.isEmpty ? label + "\n" : label + gap + style.apply(value.tone, to: value.text) + "\n"
    }.joined()
  }

  private func line(_ cells: [Cell], widths: [Int], style: Style) -> String {
    var line = ""
    var pending = 0
    for (cell, width) in zip(cells, widths) {
      if !cell.text.isEmpty {
        line += String(repeating: " ", count: pending) + style.apply(cell.tone, to: cell.text)
        pending = 0
      }
      pending += width - cell.text.count + 2
    }
    return line
  }
}
