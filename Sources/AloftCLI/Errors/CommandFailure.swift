/// Why a command did not do what was asked: everything that is written to standard error, and the exit status.
public struct CommandFailure: Error, Sendable, Equatable {
  public var status: CommandStatus
  /// What went wrong, in one sentence.
  public var detail: String
  /// More of it: one fault or fact per line.
  public var lines: [String]
  /// What to do next.
  public var hint: String?
  /// Names the request in the server's logs.
  public var requestID: String?

  public init(
    _ status: CommandStatus, _ detail: String, lines: [String] = [], hint: String? = nil, requestID: String? = nil
  ) {
    self.status = status
    self.detail = detail
    self.lines = lines
    self.hint = hint
    self.requestID = requestID
  }

  static let interrupted = CommandFailure(.interrupted, "interrupted")
  static let outputClosed = CommandFailure(.outputClosed, "the reader of the output went away")

  /// A failure whose text is on standard error already.
  static func alreadyTold(_ status: CommandStatus) -> CommandFailure { CommandFailure(status, "") }

  /// The text for standard error. Nothing when nobody reads any more or all is said.
  func rendered(style: Style) -> String {
    guard status != .outputClosed, !detail.isEmpty else { return "" }
    var text = style.apply(.bad, to: "aloft:") + " " + PrintableText.sanitized(detail) + "\n"
    for line in lines { text += "  " + PrintableText.sanitized(line) + "\n" }
    if let hint { text += style.apply(.strong, to: "hint:") + " " + PrintableText.sanitized(hint) + "\n" }
    if let requestID, !requestID.isEmpty {
      text += style.apply(.quiet, to: "request: " + PrintableText.sanitized(requestID)) + "\n"
    }
    return text
  }
}
