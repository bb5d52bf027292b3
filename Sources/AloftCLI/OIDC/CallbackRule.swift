import Foundation

/// What the browser that comes back is told, and what that means for the login.
///
/// Anybody on this machine, and any page in the browser, can call the listener: what does not carry this login's state is turned
/// away, and the login goes on waiting.
struct CallbackRule: Sendable {
  enum Verdict: Sendable, Equatable {
    case turnedAway(CallbackPage)
    case code(String)
    case refused(CommandFailure)
  }

  static let path = "/callback"
  let state: String
  let issuer: String

  /// `head`: a request's first line and header fields.
  func verdict(_ head: String) -> Verdict {
    let words = head.prefix { $0 != "\r\n" && $0 != "\n" }.split(separator: " ", omittingEmptySubsequences: false)
    guard words.count == 3, words[0] == "GET" else { return .turnedAway(.badRequest) }
    let parts = words[1].split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    guard parts[0] == Self.path else { return .turnedAway(.notFound) }
    guard let query = Self.fields(parts.count > 1 ? String(parts[1]) : ""), query["state"] == state else {
      return .turnedAway(.strange)
    }
    // RFC 9207: one issuer's answer must not be taken for another's.
    if let answering = query["iss"], answering != issuer {
      return .refused(CommandFailure(.notAuthenticated, "another issuer has answered: \(answering.prefix(256))"))
    }
    if let error = query["error"] {
      return .refused(CommandFailure(.notAuthenticated, "the issuer \(issuer) refused the login: \(error.prefix(64))"))
    }
    guard let code = query["code"], !code.isEmpty else {
      return .refused(CommandFailure(.notAuthenticated, "the issuer \(issuer) sent neither a code nor an error"))
    }
    return .code(code)
  }

  /// Nil where a name stands twice, which is not allowed (RFC 6749, section 3.1), or a value is no text.
  private static func fields(_ query: String) -> [String: String]? {
    var fields: [String: String] = [:]
    for pair in query.split(separator: "&") {
      let parts = pair.replacing("+", with: "%20").split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard let name = String(parts[0]).removingPercentEncoding,
        let value = (parts.count > 1 ? String(parts[1]) : "").removingPercentEncoding,
        fields.updateValue(value, forKey: name) == nil
      else { return nil }
    }
    return fields
  }
}

/// The pages that the browser can get: fixed, so nothing from a request ever stands in one.
enum CallbackPage: Sendable {
  case done
  case refused
  case strange
  case notFound
  case badRequest

  private var content: (status: String, text: String) {
    switch self {
    case .done: ("200 OK", "Go back to the terminal: aloft goes on there. You can close this page.")
    case .refused: ("200 OK", "The login was refused. The terminal says why; you can close this page.")
    case .strange: ("400 Bad Request", "This is not the answer to the login that aloft waits for.")
    case .notFound: ("404 Not Found", "There is nothing here.")
    case .badRequest: ("400 Bad Request", "aloft does not understand this request.")
    }
  }

  /// The whole response.
  var response: [UInt8] {
    let (status, text) = content
    let page = "<!doctype html><html lang=\"en\"><title>aloft login</title><p>\(text)</p></html>\n"
    let head = [
      "HTTP/1.1 \(status)", "Content-Type: text/html; charset=utf-8", "Content-Length: \(page.utf8.count)",
      "Cache-Control: no-store", "Content-Security-Policy: default-src 'none'", "Referrer-Policy: no-referrer",
      "X-Content-Type-Options: nosniff", "Connection: close",
    ]
    return Array((head.joined(separator: "\r\n") + "\r\n\r\n" + page).utf8)
  }
}
