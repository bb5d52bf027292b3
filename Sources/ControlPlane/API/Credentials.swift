import AloftModel
import Foundation
import HTTPTypes

/// What a request shows of its caller, as it came. `Authorization` wins over the cookie: a program that sends both means the
/// token, and a browser's cookie goes along by itself.
struct Credentials: Sendable, Equatable {
  /// The `Authorization` header.
  var authorization: String?
  /// What the session's cookies hold; a browser sends one.
  var sessions: [String] = []

  /// What is shown, by its form.
  enum Shown: Sendable, Equatable {
    case bearer(String)
    case session(String)
  }

  init(authorization: String?) { self.authorization = authorization }

  init(_ headers: HTTPFields) {
    authorization = headers[.authorization]
    sessions = Cookies.values(of: SessionCookie.name, in: headers)
  }

  /// Throws a ``Problem`` where nothing is shown, or nothing that could be looked up.
  func shown() throws(Problem) -> Shown {
    guard let authorization else {
      if let session = sessions.first {
        guard sessions.count == 1 else {
          throw Problem(.sessionInvalid, "the cookie \(SessionCookie.name) came \(sessions.count) times; send one")
        }
        return .session(session)
      }
      throw Problem(.unauthenticated, "send a token as Authorization: Bearer aloft_…, or log in: POST /v1/sessions")
    }
    let parts = authorization.split(separator: " ", maxSplits: 1)
    guard parts.count == 2, parts[0].lowercased() == "bearer" else {
      throw Problem(.unauthenticated, "the Authorization header is not of the form Bearer aloft_…")
    }
    return .bearer(String(parts[1].drop { $0 == " " || $0 == "\t" }))
  }
}

/// Reads the `Cookie` header (RFC 6265, section 5.4).
enum Cookies {
  /// The values of all cookies with that name, in the order in which they came.
  static func values(of name: String, in headers: HTTPFields) -> [String] {
    headers[values: .cookie].flatMap { field in
      field.split(separator: ";").compactMap { part in
        let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard pair.count == 2, pair[0].trimmingCharacters(in: .whitespaces) == name else { return nil }
        return pair[1].trimmingCharacters(in: .whitespaces)
      }
    }
  }
}
