/// How the program ends; scripts rely on these numbers.
public enum CommandStatus: Int32, Sendable, CaseIterable {
  case success = 0
  case operationFailed = 1
  case usage = 2
  case notFound = 3
  case refused = 4
  case notAuthenticated = 5
  case serverFault = 6
  case timedOut = 7
  case interrupted = 130
  /// As a process that SIGPIPE ended.
  case outputClosed = 141

  /// What the number says, for `aloft help exit-codes`.
  var meaning: String {
    switch self {
    case .success: "success"
    case .operationFailed: "the operation was accepted and failed"
    case .usage: "the command line or a local file is not right"
    case .notFound: "there is no such thing"
    case .refused: "refused: not valid, in conflict, or no capacity"
    case .notAuthenticated: "no token, a token that is not valid, or not allowed"
    case .serverFault: "the server cannot be reached or failed"
    case .timedOut: "the operation goes on, but --timeout has passed"
    case .interrupted: "interrupted (Ctrl-C)"
    case .outputClosed: "the reader of the output went away"
    }
  }

  /// The status that an HTTP status of the API stands for; nil below 400.
  init?(httpStatus: Int) {
    switch httpStatus {
    case ..<400: return nil
    case 401, 403: self = .notAuthenticated
    case 404: self = .notFound
    case 408, 500...: self = .serverFault
    default: self = .refused
    }
  }

  static var explanation: String {
    allCases.map { status in
      let number = String(status.rawValue)
      return number + String(repeating: " ", count: 5 - number.count) + status.meaning
    }.joined(separator: "\n")
  }
}
