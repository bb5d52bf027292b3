/// Why a call did not do what was asked.
public struct OVSDBError: Error, Sendable, Hashable, CustomStringConvertible {
  /// The closed set of reasons.
  public enum Kind: Sendable, Hashable {
    /// The request or the configuration cannot be used; nothing was sent.
    case invalidRequest
    /// No server was ready within the deadline; nothing was sent.
    case notConnected
    /// The deadline passed, or the connection ended, after the request was sent. A transaction may have happened or
    /// not: the caller has to look.
    case outcomeUnknown
    /// The task was cancelled before the request was sent.
    case cancelled
    /// ``OVSDBClient/close()`` was called before the request was sent.
    case closed
    /// The server refused the whole request (the `error` of the JSON-RPC answer). Nothing was committed.
    case requestRefused(ServerFault)
    /// The operation at this index failed. Nothing was committed.
    case operationFailed(index: Int, ServerFault)
    /// All operations were done and the commit failed: a constraint or reference between rows, or the disk. Nothing was
    /// committed.
    case commitFailed(ServerFault)
    /// The server's answer is not what the protocol says.
    case protocolViolation
  }

  public let kind: Kind
  /// What was wrong and where.
  public let message: String

  init(_ kind: Kind, _ message: String) {
    self.kind = kind
    self.message = message
  }

  /// What the server said, when it did.
  public var fault: ServerFault? {
    switch kind {
    case .requestRefused(let fault), .operationFailed(_, let fault), .commitFailed(let fault): fault
    default: nil
    }
  }

  public var description: String { message }
}
