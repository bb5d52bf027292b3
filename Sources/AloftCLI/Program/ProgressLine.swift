/// Shows how far something is, on standard error: one line that is rewritten on a terminal, otherwise a line whenever the
/// text has changed.
actor ProgressLine {
  private let surroundings: Surroundings
  private var shown = ""

  init(_ surroundings: Surroundings) { self.surroundings = surroundings }

  /// Shows `text`. `suffix` (elapsed time, speed) is shown on terminals only, as it alone is no news.
  func show(_ text: String, suffix: String = "") async {
    let text = PrintableText.sanitized(text)
    guard surroundings.errors.isTerminal else {
      guard text != shown else { return }
      shown = text
      return await write(text + "\n")
    }
    shown = text
    let line = (suffix.isEmpty ? text : text + " " + suffix).prefix(max(1, surroundings.errors.columns - 1))
    await write("\r\u{1b}[2K" + line)
  }

  /// Removes the line from a terminal.
  func clear() async {
    guard surroundings.errors.isTerminal, !shown.isEmpty else { return }
    shown = ""
    await write("\r\u{1b}[2K")
  }

  private func write(_ text: String) async { _ = try? await surroundings.errors.write(Array(text.utf8)) }
}
