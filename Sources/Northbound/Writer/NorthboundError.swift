import OVSDB

/// Why something was not written.
public struct NorthboundError: Error, Sendable, Hashable, CustomStringConvertible {
  /// The closed set of reasons.
  public enum Kind: Sendable, Hashable {
    /// This client does not write now: another one does, or did meanwhile, or the connection ended. What to do: acquire, read
    /// the model anew, replace all.
    case notWriter
    /// No server was ready in time. Nothing was written. The same is to be done.
    case unavailable
    /// The transaction was sent and not answered. The same is to be done.
    case outcomeUnknown
    /// The server does not take a transaction, whoever brings it; mostly because something of other people is in the way. Who
    /// calls the writer is told of it by what it returns.
    case refused
    /// The task was cancelled while it waited.
    case cancelled
  }

  public let kind: Kind
  /// What was wrong, and where.
  public let message: String

  public var description: String { message }

  init(_ kind: Kind, _ message: String) {
    self.kind = kind
    self.message = message
  }

  /// What the client threw at a transaction that begins with the guards of ``NorthboundWriter``.
  init(_ error: OVSDBError) {
    switch error.kind {
    case .outcomeUnknown, .protocolViolation: self.init(.outcomeUnknown, error.message)
    case .notConnected, .closed: self.init(.unavailable, error.message)
    case .cancelled: self.init(.cancelled, error.message)
    case .invalidRequest: self.init(.refused, error.message)
    case .operationFailed(let index, let fault) where index < NorthboundWriter.guardCount:
      self.init(.notWriter, "another client writes OVN's northbound database: \(fault)")
    case .requestRefused(let fault), .operationFailed(_, let fault), .commitFailed(let fault):
      self.init(fault.concernsServer ? .unavailable : .refused, error.message)
    }
  }
}

extension ServerFault {
  /// Whether another server, or this one later, would take the same transaction.
  fileprivate var concernsServer: Bool {
    switch code {
    case .notLeader, .ioError, .canceled, .unknownDatabase, .resourcesExhausted: true
    default: false
    }
  }
}
