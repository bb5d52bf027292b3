/// Whether text is coloured, and how. Colours go to terminals only, and never when `NO_COLOR` is set
/// (https://no-color.org).
struct Style: Sendable {
  /// What a colour means; the reader's terminal decides what it looks like.
  enum Tone: String { case good = "32", busy = "33", bad = "31", quiet = "2", strong = "1" }

  let isColoured: Bool

  init(isTerminal: Bool, environment: [String: String]) {
    isColoured = isTerminal && environment["NO_COLOR", default: ""].isEmpty && environment["TERM"] != "dumb"
  }

  func apply(_ tone: Tone?, to text: String) -> String {
    guard isColoured, let tone, !text.isEmpty else { return text }
    return "\u{1b}[\(tone.rawValue)m\(text)\u{1b}[0m"
  }

  /// The tone of a state or status word.
  static func tone(ofState state: String) -> Tone? {
    switch state {
    case "running", "ready", "succeeded", "delivered": .good
    case "creating", "starting", "stopping", "rebooting", "deleting", "queued", "awaiting_upload", "cordoned",
      "pending":
      .busy
    case "failed", "unknown", "down": .bad
    default: nil
    }
  }
}
